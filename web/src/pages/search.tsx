// Finds stored frames by words, by a dropped or pasted picture, or by a stored frame. The words and the filters are in the address.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { type ApiError, get, pictureUrl } from "../api";
import { count, counted } from "../format";
import { Button } from "../parts/Button";
import { Chip, Chips } from "../parts/Chip";
import { Empty } from "../parts/Empty";
import { Field } from "../parts/Field";
import { Heading } from "../parts/Heading";
import { Problem } from "../parts/Problem";
import { Select } from "../parts/Select";
import { Time } from "../parts/Time";
import { toast } from "../parts/Toast";
import { useRequest } from "../request";
import { type Query, link, useQuery } from "../router";
import { MakeLabel } from "./search/MakeLabel";
import { Result } from "./search/Result";
import { type Found, MOST, type Match, RANGES, TOP, find, isAsked, refused } from "./search/find";

export default function Page() {
  const [query, setQuery] = useQuery();
  const [picture, setPicture] = useState<File>();
  const [words, setWords] = useState(query["q"] ?? "");
  const [label, setLabel] = useState<{ match?: Match }>();
  useEffect(() => setWords(query["q"] ?? ""), [query["q"]]);
  const key = JSON.stringify(query);
  // A new search begins with the first results.
  const [more, setMore] = useState<{ key: string; picture: File | undefined; top: number }>();
  const top = more && more.key === key && more.picture === picture ? more.top : TOP;

  // A picture of this device takes the place of a stored frame, and the other way round.
  const choose = (file: File) => {
    const problem = refused(file);
    if (problem) return toast(problem);
    setPicture(file);
    if (query["like"]) setQuery({ like: undefined, at: undefined, region: undefined, picture: undefined });
  };
  useEffect(() => {
    if (query["like"]) setPicture(undefined);
  }, [query["like"], query["at"]]);
  const isDragging = useDropped(choose);
  const isSearching = isAsked(query, picture);
  const search = useRequest(
    (signal) => (isSearching ? find(query, picture, top, signal) : Promise.resolve(undefined)),
    [key, picture, top],
  );
  const names = useSources();
  const submit = (event: Event) => {
    event.preventDefault();
    // The same words again: frames may have arrived.
    if (words.trim() === (query["q"] ?? "")) search.reload();
    else setQuery({ q: words.trim() });
  };

  return (
    <>
      <Heading title="Search">
        <Select
          label="Source"
          hideLabel
          value={query["source"] ?? ""}
          options={[{ value: "", text: "all sources" }, ...options(names.sources, query["source"])]}
          onChange={(source) => setQuery({ source })}
        />
        <Chips label="Time" value={query["since"] ?? ""} options={RANGES} onChange={(since) => setQuery({ since })} />
      </Heading>
      <div class={`search stack ${isDragging ? "search-drop" : ""}`}>
        <form class="search-form" role="search" onSubmit={submit}>
          <Field
            label="Words"
            hideLabel
            type="search"
            value={words}
            onInput={setWords}
            placeholder="a dog at the gate"
            maxLength={300}
            autocomplete="off"
          />
          <Button type="submit" kind="primary">Search</Button>
          <Chosen onChoose={choose} />
        </form>
        <Like query={query} picture={picture} onRemove={() => {
          setPicture(undefined);
          setQuery({ like: undefined, at: undefined, region: undefined, picture: undefined });
        }} />
        {search.error && <Failed error={search.error} onRetry={search.reload} />}
        {!isSearching && <Hint />}
        {isSearching && search.isLoading && !search.answer && <p class="muted small" role="status">Searching …</p>}
        {isSearching && search.answer && !search.error && (
          <Results
            found={search.answer}
            isLoading={search.isLoading}
            top={top}
            onMore={top < MOST ? () => setMore({ key, picture, top: Math.min(MOST, 2 * top) }) : undefined}
            onLabel={(match) => setLabel({ match })}
          />
        )}
      </div>
      {label && (
        <MakeLabel
          match={label.match}
          words={query["q"] ?? ""}
          sets={names.setsOf(label.match?.source)}
          onClose={() => setLabel(undefined)}
        />
      )}
    </>
  );
}

function options(names: string[], chosen: string | undefined): { value: string; text: string }[] {
  const all = chosen && !names.includes(chosen) ? [...names, chosen] : names;
  return all.map((value) => ({ value, text: value }));
}

/** The sources, and the label sets that each watches. */
function useSources(): { sources: string[]; setsOf: (source: string | undefined) => string[] } {
  const { answer } = useRequest((signal) => get("sources", undefined, signal), []);
  const known = answer?.sources ?? [];
  return {
    sources: known.map((one) => one.source),
    setsOf: (source) => {
      const own = known.filter((one) => source === undefined || one.source === source);
      return [...new Set(own.flatMap((one) => one.labels.map((label) => label.label_set)))];
    },
  };
}

/** Takes a picture that is dropped on the page or pasted. Returns whether a file is being dragged over it. */
function useDropped(choose: (file: File) => void): boolean {
  const [isOver, setOver] = useState(false);
  const latest = useRef(choose);
  latest.current = choose;
  useEffect(() => {
    const hasFile = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent) => event.relatedTarget === null && setOver(false);
    const drop = (event: DragEvent) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      setOver(false);
      const file = event.dataTransfer?.files[0];
      if (file) latest.current(file);
    };
    const paste = (event: ClipboardEvent) => {
      const file = [...(event.clipboardData?.files ?? [])].find((one) => one.type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      latest.current(file);
    };
    window.addEventListener("dragover", over);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    window.addEventListener("paste", paste);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
      window.removeEventListener("paste", paste);
    };
  }, []);
  return isOver;
}

/** The button that chooses a file. */
function Chosen({ onChoose }: { onChoose: (file: File) => void }) {
  const id = useId();
  return (
    <span class="search-file">
      <input
        id={id}
        type="file"
        accept="image/*"
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) onChoose(file);
          event.currentTarget.value = "";
        }}
      />
      <label for={id} class="button">Picture…</label>
    </span>
  );
}

/** The picture or the stored frame that results are to be similar to. */
function Like({ query, picture, onRemove }: { query: Query; picture: File | undefined; onRemove: () => void }) {
  const address = useMemo(() => picture && URL.createObjectURL(picture), [picture]);
  useEffect(() => () => address && URL.revokeObjectURL(address), [address]);
  if (!picture && !query["like"]) return null;
  const stored = query["picture"] && pictureUrl(query["picture"]);
  return (
    <div class="like">
      {(address ?? stored) && <img src={address ?? stored} alt="" />}
      <Chip onRemove={onRemove} removeLabel="Do not search by this picture">
        similar to {picture ? picture.name : <>{query["like"]} <Time at={query["at"] ?? ""} /></>}
      </Chip>
    </div>
  );
}

function Hint() {
  return (
    <Empty title="Find a moment that no label names">
      <p>Write what was in view, such as “a dog at the gate”. Or drop or paste a picture anywhere on this page: frames that are similar to it are found. The picture is not stored.</p>
    </Empty>
  );
}

/** What to do about a search that failed. */
function Failed({ error, onRetry }: { error: ApiError; onRetry: () => void }) {
  if (error.where !== "history.search") return <Problem error={error} onRetry={onRetry} />;
  return (
    <Problem error={error}>
      <p><a href={link("configuration")}>Open the configuration</a></p>
    </Problem>
  );
}

function Results({ found, isLoading, top, onMore, onLabel }: {
  found: Found;
  isLoading: boolean;
  top: number;
  onMore: (() => void) | undefined;
  onLabel: (match: Match) => void;
}) {
  const { matches, line } = found;
  const highest = Math.max(line, ...matches.map((match) => match.lift));
  const likely = matches.filter((match) => match.likely).length;
  const row = (match: Match): ComponentChildren => (
    <Result key={`${match.source} ${match.region} ${match.time}`} match={match} highest={highest} onLabel={() => onLabel(match)} />
  );
  return (
    <div class="stack" aria-busy={isLoading || undefined}>
      <Covered found={found} />
      {matches.length === 0 && <Empty title="Nothing was found"><p>No stored frame fits these filters.</p></Empty>}
      {likely > 0 && <ul class="grid" aria-label="Found">{matches.slice(0, likely).map(row)}</ul>}
      {likely < matches.length && (
        <>
          <p class="search-line"><span>probably nothing below</span></p>
          <ul class="grid" aria-label="Probably nothing">{matches.slice(likely).map(row)}</ul>
        </>
      )}
      {matches.length >= top && onMore && <div class="older"><Button onClick={onMore} busy={isLoading}>Show more</Button></div>}
    </div>
  );
}

/** What was searched, and what was not. Times that change while they are read are outside of the status. */
function Covered({ found }: { found: Found }) {
  if (found.embeddings === 0) {
    return (
      <p class="muted small">
        <span role="status">
          No frame is stored that could be searched. Frames that are scored later are stored while <code>history.search</code> is on.
          <Others found={found} />
        </span>
      </p>
    );
  }
  return (
    <p class="muted small">
      <span role="status">
        Searched {count(found.embeddings)} {found.embeddings === 1 ? "embedding" : "embeddings"} of {counted(found.sources, "source")}
      </span>
      {found.first != null && found.last != null && <>, of frames from <Time at={found.first} /> to <Time at={found.last} /></>}.
      Older frames, and frames that were not scored, are not searched.
      <Others found={found} />
    </p>
  );
}

/** Stored frames that the search does not see. */
function Others({ found: { embeddings_of_other_models: others, pictures_to_embed: waiting, model } }: { found: Found }) {
  return (
    <>
      {others > 0 && <> {counted(others, "embedding")} of other models cannot be searched with {model}.</>}
      {waiting > 0 && <> The search does not see {counted(waiting, "stored picture")} yet: the model embeds them while it is idle.</>}
    </>
  );
}
