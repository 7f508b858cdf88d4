// Alerts and near misses on one time line, the newest first. Each is judged with a key or a button. The filters are in the address.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { apiUrl, get, pictureUrl } from "../api";
import { onAlert, onGap } from "../events";
import { count, counted, day } from "../format";
import { judgingKeys, press } from "../judging";
import { keyOf, unstored, useMarks } from "../marks";
import { Button } from "../parts/Button";
import { Chip, Chips } from "../parts/Chip";
import { Empty } from "../parts/Empty";
import { Heading } from "../parts/Heading";
import { Keys, useKeys } from "../parts/Keys";
import { Problem } from "../parts/Problem";
import { Select } from "../parts/Select";
import { useToday } from "../parts/Time";
import { Unstored } from "../parts/Unstored";
import { asApiError, useRequest } from "../request";
import { type Query, link, useQuery } from "../router";
import { useMayChange } from "../session";
import { Detail } from "./alerts/Detail";
import { Row, rowId } from "./alerts/Row";
import { type Entry, KINDS, type Part, RANGES, belongs, dayOf, extended, filters, load, refreshed } from "./alerts/list";

/** The pictures behind the selected entry that are loaded in advance. */
const AHEAD = 3;
/** An alert that has arrived is stored within this time. */
const STORED_MS = 15_000;
/** The alerts that have arrived and are counted. A page may be open for weeks. */
const MOST_NEWER = 500;
/** The labels whose marks are shown at the top. */
const MOST_COUNTS = 6;

export default function Page() {
  const [query, setQuery] = useQuery();
  const list = useList(query);
  const [selected, select] = useState<string>();
  const open = query["entry"];
  const mayMark = useMayChange();
  useMarks();

  const entries = list.part?.entries ?? [];
  const place = entries.findIndex((entry) => entry.id === (open ?? selected));
  const current = entries[place];
  const move = (to: number) => {
    const entry = entries[Math.min(Math.max(to, 0), entries.length - 1)];
    if (!entry) return;
    select(entry.id);
    if (open) setQuery({ entry: entry.id }, true);
    show(entry.id, open === undefined);
    if (to >= entries.length - AHEAD) list.loadOlder();
  };
  const close = () => {
    select(open);
    setQuery({ entry: undefined }, true);
  };
  useKeys({
    j: () => move(place + 1),
    ArrowDown: () => (place < 0 ? false : move(place + 1)),
    k: () => move(Math.max(place - 1, 0)),
    ArrowUp: () => (place < 0 ? false : move(Math.max(place - 1, 0))),
    ...judgingKeys({
      current,
      mayMark,
      // The sheet judges an entry that is not in the list.
      onFirst: () => (open ? false : move(0)),
      onNext: () => move(place + 1),
      onUndone: (key) => {
        const at = entries.findIndex((entry) => keyOf(entry) === key);
        if (at >= 0) move(at);
        return at >= 0;
      },
    }),
    Enter: () => (current ? setQuery({ entry: current.id }, true) : false),
    Escape: () => (open ? close() : false),
  });
  usePreloaded(entries, place);
  useFocusReturned(open);

  return (
    <>
      <Heading title="Alerts" aside={<a class="button" href={download(query)} download>Download marks</a>}>
        <Filters query={query} setQuery={setQuery} entries={entries} />
      </Heading>
      <div class="alerts stack" aria-busy={(list.isLoading && !list.part) || undefined}>
        <Unstored />
        <Newer list={list} />
        <div class="alerts-head">
          <Counts query={query} />
          <Keys keys={[["j k", "move"], ["y", "right"], ["n", "wrong"], ["u", "undo"], ["Enter", "show all"]]} />
        </div>
        {list.error && <Problem error={list.error} onRetry={list.reload} />}
        {list.part && entries.length === 0 && <Nothing query={query} />}
        <Days entries={entries}>
          {(entry, index) => (
            <Row
              key={entry.id}
              entry={entry}
              isSelected={index === place}
              mayMark={mayMark}
              eager={index < 8}
              onSelect={() => select(entry.id)}
              onOpen={() => {
                select(entry.id);
                setQuery({ entry: entry.id }, true);
              }}
              onMark={(verdict) => press(entry, verdict, mayMark)}
            />
          )}
        </Days>
        <Older list={list} />
      </div>
      {open && (
        <Detail
          id={open}
          known={entries.find((entry) => entry.id === open)}
          mayMark={mayMark}
          onMark={(entry, verdict) => press(entry, verdict, mayMark)}
          onClose={close}
        />
      )}
    </>
  );
}

/** Brings an entry into view, and the focus to it. */
function show(id: string, focus: boolean) {
  const row = document.getElementById(rowId(id));
  row?.scrollIntoView({ block: "nearest" });
  if (focus && !row?.contains(document.activeElement)) row?.focus({ preventScroll: true });
}

/** When the sheet closes, the focus is at the entry that was open last. */
function useFocusReturned(open: string | undefined) {
  const last = useRef(open);
  useEffect(() => {
    if (last.current !== undefined && open === undefined) show(last.current, true);
    last.current = open;
  }, [open]);
}

/** The address of the marks as a file, with the filters that count for marks. */
function download(query: Query): string {
  const { source, label, since } = filters(query, new Date());
  const parameters = Object.entries({ source, label, since }).flatMap(([name, value]) => (value ? [[name, value]] : []));
  return apiUrl(`truth.csv?${new URLSearchParams(parameters)}`);
}

/** Loads the pictures behind the selected entry in advance. */
function usePreloaded(entries: Entry[], place: number) {
  const next = entries.slice(place + 1, place + 1 + AHEAD).map((entry) => entry.picture);
  useEffect(() => {
    for (const address of next) if (address) new Image().src = pictureUrl(address);
  }, [next.join()]);
}

interface List {
  part?: Part;
  error?: ReturnType<typeof asApiError>;
  isLoading: boolean;
  /** The alerts that have arrived since the list was loaded, or `MOST_NEWER`. */
  newer: number;
  /** Puts them on top. */
  showNewer: () => void;
  loadOlder: () => void;
  reload: () => void;
}

/** The list for the filters of the address. What arrives is counted, and is not shown until that is asked for. */
function useList(query: Query): List {
  const { entry: _, ...relevant } = query;
  const key = JSON.stringify(relevant);
  const filter = useMemo(() => filters(relevant, new Date()), [key]);
  const [state, setState] = useState<{ key: string; part?: Part; error?: List["error"] }>({ key });
  // When each of them arrived.
  const [newer, setNewer] = useState<ReadonlyMap<string, number>>(new Map());
  const [isLoading, setLoading] = useState(false);
  const [round, setRound] = useState(0);
  // Nothing that was asked for other filters is shown.
  const now = useRef({ key, part: state.part, open: new Set<string>() });
  now.current.key = key;
  now.current.part = state.key === key ? state.part : undefined;

  const ask = useCallback(async (after: Entry | undefined, join: (list: Part, found: Part) => Part) => {
    const { open } = now.current;
    const request = `${after?.id} ${key}`;
    if (open.has(request)) return;
    open.add(request);
    setLoading(true);
    try {
      const found = await load(filter, after);
      const before = now.current.part;
      if (now.current.key !== key) return;
      // The list was loaded again meanwhile: the older part does not follow its end.
      if (after && before?.entries.at(-1)?.id !== after.id) return;
      const part = before ? join(before, found) : found;
      now.current.part = part;
      setState({ key, part });
      if (!after) setNewer((all) => missing(all, part));
    } catch (error) {
      if (now.current.key === key) setState((before) => ({ ...before, error: asApiError(error) }));
    } finally {
      open.delete(request);
      setLoading(open.size > 0);
    }
  }, [key, filter]);

  useEffect(() => {
    const control = new AbortController();
    setNewer(new Map());
    load(filter, undefined, control.signal).then(
      (part) => {
        if (control.signal.aborted || now.current.key !== key) return;
        now.current.part = part;
        setState({ key, part });
        // What arrived while it was loaded may be in it.
        setNewer((all) => missing(all, part));
      },
      (error: unknown) => !control.signal.aborted && setState({ key, error: asApiError(error) }),
    );
    return () => control.abort();
  }, [key, filter, round]);

  useEffect(() => {
    const arrived = (ids: string[]) => {
      const known = new Set(now.current.part?.entries.map((entry) => entry.id));
      const fresh = ids.filter((id) => !known.has(id));
      if (fresh.length === 0) return;
      setNewer((before) => new Map([...fresh.map((id) => [id, Date.now()] as const), ...before].slice(0, MOST_NEWER)));
    };
    const stopAlerts = onAlert((alert) => belongs(alert, relevant) && arrived([alert.id]));
    const stopGaps = onGap(() => {
      // Events may be missing: the newest part says which.
      load(filter, undefined).then((part) => now.current.key === key && now.current.part && arrived(part.entries.map((entry) => entry.id)), () => {});
    });
    return () => {
      stopAlerts();
      stopGaps();
    };
  }, [key, filter]);

  const part = now.current.part;
  const last = part?.entries.at(-1);
  return {
    part,
    error: state.key === key ? state.error : undefined,
    isLoading: isLoading || (part === undefined && (state.key !== key || state.error === undefined)),
    newer: newer.size,
    showNewer: () => void ask(undefined, refreshed),
    loadOlder: () => {
      if (part?.more && last) void ask(last, extended);
    },
    reload: () => setRound((before) => before + 1),
  };
}

/** What arrived and is not in the list. It is stored some seconds later at most: after that it was deleted, or is not stored at all. */
function missing(newer: ReadonlyMap<string, number>, list: Part): ReadonlyMap<string, number> {
  const known = new Set(list.entries.map((entry) => entry.id));
  return new Map([...newer].filter(([id, at]) => !known.has(id) && Date.now() - at < STORED_MS));
}

function Filters({ query, setQuery, entries }: {
  query: Query;
  setQuery: (changes: Record<string, string | undefined>) => void;
  entries: Entry[];
}) {
  const names = useNames(query, entries);
  const set = (name: string) => (value: string) => setQuery({ [name]: value, entry: undefined });
  const options = (all: string, values: string[]) => [{ value: "", text: all }, ...values.map((value) => ({ value, text: value }))];
  return (
    <>
      <Select label="Source" hideLabel value={query["source"] ?? ""} options={options("all sources", names.sources)} onChange={set("source")} />
      <Select label="Label" hideLabel value={query["label"] ?? ""} options={options("all labels", names.labels)} onChange={set("label")} />
      <Select label="Kind" hideLabel value={query["only"] ?? ""} options={KINDS} onChange={set("only")} />
      <Chips label="Time" value={query["since"] ?? ""} options={RANGES} onChange={set("since")} />
      <Chip selected={query["unmarked"] === "1"} onClick={() => set("unmarked")(query["unmarked"] === "1" ? "" : "1")}>unmarked only</Chip>
    </>
  );
}

/** The names for the filters: those of the configuration, and those that were seen on this page, which may be of the past. */
function useNames(query: Query, entries: Entry[]): { sources: string[]; labels: string[] } {
  const { answer } = useRequest((signal) => get("sources", undefined, signal), []);
  const seen = useRef({ sources: new Set<string>(), labels: new Set<string>() });
  const { sources, labels } = seen.current;
  for (const configured of answer?.sources ?? []) {
    sources.add(configured.source);
    for (const label of configured.labels) labels.add(`${label.label_set}/${label.label}`);
  }
  for (const entry of entries) {
    sources.add(entry.source);
    labels.add(`${entry.label_set}/${entry.label}`);
  }
  if (query["source"]) sources.add(query["source"]);
  if (query["label"]) labels.add(query["label"]);
  return { sources: [...sources].sort(), labels: [...labels].sort() };
}

/** How many marks each label has. */
function Counts({ query }: { query: Query }) {
  const { waiting } = unstored();
  // Counted again when everything is stored.
  const { answer } = useRequest((signal) => get("marks", { source: query["source"], limit: 1 }, signal), [query["source"], waiting === 0]);
  const counts = answer?.counts ?? [];
  if (counts.length === 0) return null;
  return (
    <ul class="counts" aria-label="Marks of each label">
      {counts.slice(0, MOST_COUNTS).map((one) => {
        const name = `${one.label_set}/${one.label}`;
        return (
          <li key={name}>
            <Chip href={link("alerts", { ...query, entry: undefined, label: name })} selected={query["label"] === name}>
              <span>{name}</span> <span class="count-right" aria-hidden="true">✓ {count(one.right)}</span>
              {" "}<span class="count-wrong" aria-hidden="true">✕ {count(one.wrong)}</span>
              <span class="hidden">: {counted(one.right, "mark")} right, {count(one.wrong)} wrong</span>
            </Chip>
          </li>
        );
      })}
      {counts.length > MOST_COUNTS && <li class="muted small">and {counts.length - MOST_COUNTS} more labels</li>}
    </ul>
  );
}

/** The alerts that have arrived, above the list, so that nothing moves until they are asked for. */
function Newer({ list }: { list: List }) {
  return (
    <div class="newer" role="status">
      {list.newer > 0 && (
        <Button
          kind="primary"
          onClick={() => {
            list.showNewer();
            scrollTo(0, 0);
          }}
        >
          {count(list.newer)}{list.newer === MOST_NEWER && " or more"} new
        </Button>
      )}
    </div>
  );
}

function Older({ list }: { list: List }) {
  const end = useRef<HTMLDivElement>(null);
  const load = useRef(list.loadOlder);
  load.current = list.loadOlder;
  useEffect(() => {
    if (!end.current) return;
    const observer = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && load.current(), { rootMargin: "800px" });
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [list.part?.entries.length]);
  if (!list.part?.more) return null;
  return (
    <div class="older" ref={end}>
      <Button onClick={list.loadOlder} busy={list.isLoading}>Show older ones</Button>
    </div>
  );
}

function Nothing({ query }: { query: Query }) {
  const { entry: _, ...others } = query;
  if (Object.keys(others).length > 0) {
    return <Empty title="Nothing fits these filters"><a href={link("alerts")}>Show everything</a></Empty>;
  }
  return (
    <Empty title="No alert yet">
      <p>Alerts and near misses appear here when labels are scored. They are kept while <code>history</code> is on.</p>
    </Empty>
  );
}

/** The entries below the headings of their days. */
function Days({ entries, children }: { entries: Entry[]; children: (entry: Entry, index: number) => preact.ComponentChildren }) {
  const today = useToday();
  // The key of a day stays when entries are put on top, so that its rows keep their pictures and the focus.
  const days: { key: string; name: string; first: number; entries: Entry[] }[] = [];
  entries.forEach((entry, index) => {
    const name = dayOf(entry);
    const last = days.at(-1);
    if (last?.name === name) last.entries.push(entry);
    else days.push({ key: `${name} ${days.filter((one) => one.name === name).length}`, name, first: index, entries: [entry] });
  });
  return (
    <>
      {days.map(({ key, name, first, entries: ofDay }) => (
        <section key={key} class="day" aria-label={name}>
          <h2>{name === today.toDateString() ? "Today" : day(new Date(name), today)}</h2>
          <ol class="entries">{ofDay.map((entry, index) => children(entry, first + index))}</ol>
        </section>
      ))}
    </>
  );
}
