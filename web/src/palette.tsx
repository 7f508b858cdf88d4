// Goes anywhere from the keyboard: pages, sources and labels by a part of their names, and a search by words. Ctrl+K opens it.

import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { type Schema, get } from "./api";
import { PAGES, link } from "./router";

interface Place {
  text: string;
  /** What it is, behind the name. */
  kind: string;
  href: string;
}

/** More places are not shown: further letters find them. */
const MOST = 12;

export default function Palette({ onClose }: { onClose: () => void }) {
  const [words, setWords] = useState("");
  const [chosen, setChosen] = useState(0);
  const [sources, setSources] = useState<readonly Schema<"LiveSource">[]>([]);
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opened = dialog.current;
    if (!opened?.open) opened?.showModal();
    const control = new AbortController();
    // Without the names of sources, the pages are still there.
    get("sources", {}, control.signal).then((answer) => setSources(answer.sources), () => undefined);
    return () => {
      control.abort();
      opened?.close();
    };
  }, []);
  const places = useMemo(() => allPlaces(sources), [sources]);
  const found = useMemo(() => matching(places, words), [places, words]);
  const current = Math.min(chosen, found.length - 1);
  useEffect(() => document.getElementById(`${id}-${current}`)?.scrollIntoView({ block: "nearest" }), [current]);

  const go = (place: Place | undefined) => {
    if (!place) return;
    onClose();
    location.hash = place.href;
  };
  const pressed = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setChosen((current + step + found.length) % found.length);
    else if (event.key === "Enter") go(found[current]);
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      class="dialog palette"
      ref={dialog}
      aria-label="Go to"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <input
        class="input"
        type="text"
        role="combobox"
        aria-label="Page, source, label, or words to search for"
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={`${id}-${current}`}
        aria-autocomplete="list"
        placeholder="Page, source, label, or words to search for"
        autocomplete="off"
        spellcheck={false}
        value={words}
        onInput={(event) => {
          setWords(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={pressed}
      />
      <ul id={id} role="listbox" aria-label="Places">
        {found.map((place, number) => (
          <li key={place.href} id={`${id}-${number}`} role="option" aria-selected={number === current} onClick={() => go(place)}>
            <span>{place.text}</span>
            <span class="muted">{place.kind}</span>
          </li>
        ))}
      </ul>
    </dialog>
  );
}

/** Everything with a name. */
function allPlaces(sources: readonly Schema<"LiveSource">[]): Place[] {
  const pages = PAGES.map((page): Place => ({ text: page.charAt(0).toUpperCase() + page.slice(1), kind: "page", href: link(page) }));
  const ofSource = sources.flatMap(({ source, labels }): Place[] => [
    { text: source, kind: "Live", href: link("live", { source }) },
    { text: source, kind: "Alerts", href: link("alerts", { source }) },
    // A rule over labels has no threshold.
    ...labels.filter(({ when }) => !when).map(({ label_set, label }) => ({
      text: `${source} / ${label}`,
      kind: "Tune",
      href: link("tune", { source, set: label_set, label }),
    })),
  ]);
  return [...pages, ...ofSource];
}

/** The places whose names have every word, and at the end a search for these words. */
export function matching(places: readonly Place[], words: string): Place[] {
  const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = places.filter(({ text, kind }) => {
    const name = `${text} ${kind}`.toLowerCase();
    return parts.every((part) => name.includes(part));
  });
  if (parts.length === 0) return found.slice(0, MOST);
  return [...found.slice(0, MOST), { text: words.trim(), kind: "Search", href: link("search", { q: words.trim() }) }];
}
