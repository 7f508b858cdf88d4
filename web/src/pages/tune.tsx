// A threshold is dragged over the stored scores of one label on one source: the alerts that it would have raised appear at once. The
// source, the label, the time and what is shown of it are in the address.

import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../api";
import { count, duration } from "../format";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Chip, Chips } from "../parts/Chip";
import { Empty } from "../parts/Empty";
import { Heading } from "../parts/Heading";
import { Problem } from "../parts/Problem";
import { Select } from "../parts/Select";
import { Sheet } from "../parts/Sheet";
import { Unstored } from "../parts/Unstored";
import { literal } from "../literal";
import { type Loaded, useRequest } from "../request";
import { type Query, useQuery } from "../router";
import { useMayChange } from "../session";
import { AlertsCard, MOST } from "./tune/Alerts";
import { answerFor, hasTried, summary } from "./tune/Answer";
import { ChartCard } from "./tune/Chart";
import { Buttons, Panel, scopeOf } from "./tune/Panel";
import { LinesToPaste, useSaving } from "./tune/Save";
import type { TriedWords } from "./tune/Words";
import { useAlertMarks } from "./tune/marks";
import { type Choice, type ChosenLabel, type RangeName, RANGES, choose, labelKey, secondsOf, windowOf, zoomOf } from "./tune/subject";
import { type Stored, type Trial, useTrial } from "./tune/trial";
import {
  type Asked, NOTHING, type Scores, type Subject, type Suggestion, type TrialAnswer, type Tried, forConfiguration, isTried, probeOf, withChanges,
} from "./tune/types";

/** The points of the line, at most. */
const POINTS = 1000;
/** The pictures that are shown first, and with each further press. */
const PAGE = 60;
/** The suggestion is searched again when no mark was made for this long. */
const QUIET_MS = 1_500;
const PHONE = "(max-width: 600px)";
/** The settings that are fields, which show their errors themselves. */
const FIELDS = ["hold", "for", "cooldown", "active", "rise", "clear_rise"];

type SetQuery = (changes: Record<string, string | undefined>, replace?: boolean) => void;

export default function Page() {
  const [query, setQuery] = useQuery();
  const sources = useRequest((signal) => get("sources", undefined, signal), []);
  const choices = sources.answer?.sources;
  const choice = choices && choose(choices, query);
  if (choices && choice) {
    return <Tuned key={`${choice.source} ${labelKey(choice)}`} choices={choices} choice={choice} query={query} setQuery={setQuery} />;
  }
  return (
    <>
      <Heading title="Tune" />
      {sources.error && <Problem error={sources.error} onRetry={sources.reload} />}
      {!choices && sources.isLoading && <p class="muted" aria-busy="true">Loading…</p>}
      {choices && <Empty title="There is no label to tune"><p>Add a source with a label set first.</p></Empty>}
    </>
  );
}

/** The page of one label. */
function Tuned({ choices, choice, query, setQuery }: { choices: readonly Choice[]; choice: ChosenLabel; query: Query; setQuery: SetQuery }) {
  const { isRule } = choice;
  const time = useTime(query, setQuery);
  const subject = useMemo<Subject>(() => ({ ...nameOf(choice), ...time.window }), [time.window]);
  const [tried, setTried] = useState<Tried>(NOTHING);
  const [limit, setLimit] = useState(PAGE);
  const [selected, select] = useState<string>();
  const [otherWords, setOtherWords] = useState<TriedWords>();
  const mayChange = useMayChange();
  const { marks, round } = useAlertMarks(subject);
  const scores = useScores(subject, time.zoom);
  const stored = useStored(subject, isRule, scores.whole);
  const trial = useTrial(useMemo<Asked>(() => ({ subject, tried, limit }), [subject, tried, limit]), round, stored);
  const nothing = stored.answer === false ? nothingIn(subject, isRule, time.words) : undefined;
  const suggestion = useSuggestion(subject, isRule, round);
  const { answer } = trial;
  const settings = useSame(answer?.settings);
  const alerts = useMemo(() => [...(answer?.alerts ?? []), ...(answer?.lost_alerts ?? [])], [answer]);
  const change = useCallback(
    (changes: Tried) => settings && setTried((before) => withChanges(settings, before, changes)),
    [settings],
  );
  const saving = useSaving(mayChange);
  const { source, label_set, label } = subject;
  const canSave = !isRule && settings !== undefined && suggestion.answer !== undefined && !trial.error;
  // Scores of other words are of the time for which they were asked.
  const wordsNow = otherWords?.subject === subject ? otherWords : undefined;
  const place = { source: suggestion.answer?.configured.is_adjusted ? source : undefined, label_set, label };

  const save = () => {
    if (!settings) return;
    const keys = (isClearNamed: boolean) => forConfiguration(settings, tried, isClearNamed);
    void saving.save(place, { keys, probe: probeOf(settings, tried) });
  };
  const panel = (
    <Panel
      {...{ trial, nothing, suggestion, subject, isRule, tried }}
      otherWords={wordsNow}
      isSaving={saving.isSaving}
      words={time.words}
      short={time.short}
      onChange={change}
      onWords={setOtherWords}
      onSaveWords={(prompts) => void saving.save({ ...place, source: undefined }, { keys: () => ({ prompts: prompts.map(literal) }) })}
    />
  );
  const buttons = (
    <Buttons
      isTried={isTried(tried)}
      isSaving={saving.isSaving}
      canSave={canSave}
      scope={canSave || isRule ? scopeOf(suggestion.answer, isRule, subject) : ""}
      onSave={save}
      onRevert={() => setTried(NOTHING)}
    />
  );
  return (
    <>
      <Heading title={`${source} / ${label}`} aside={<Facts answer={answerFor(subject, trial)} milliseconds={trial.milliseconds} />}>
        <Choices choices={choices} choice={choice} setQuery={setQuery} />
        <Chips label="Time" value={time.range} options={RANGES} onChange={time.setRange} />
        {time.zoom && <Chip onRemove={() => time.showPart(undefined)} removeLabel="Show the whole time">part of it</Chip>}
      </Heading>
      <Beside panel={panel} buttons={buttons} summary={summaryOf(subject, trial, nothing)}>
        <Unstored />
        {trial.error && !FIELDS.includes(trial.error.where ?? "") && (
          <Problem error={trial.error} onRetry={trial.error.status === 400 ? undefined : trial.retry} />
        )}
        {stored.error && stored.error !== scores.error && <Problem error={stored.error} onRetry={stored.reload} />}
        {scores.error && <Problem error={scores.error} onRetry={scores.reload} />}
        <ChartCard
          {...{ subject, settings, tried, answer, alerts, marks }}
          words={time.words}
          scores={scores.shown}
          otherWords={wordsNow}
          range={time.shown}
          onChange={change}
          onRange={time.showPart}
          onPick={(alert) => select(alert.time)}
        />
        <AlertsCard
          {...{ answer, nothing, alerts, selected, marks, limit }}
          mayMark={mayChange}
          onSelect={select}
          onMore={() => setLimit((before) => Math.min(MOST, before + PAGE))}
        />
      </Beside>
      {saving.unsaved && <LinesToPaste unsaved={saving.unsaved} onClose={saving.close} />}
    </>
  );
}

/** What the bar of a phone says. */
function summaryOf(subject: Subject, trial: Trial, nothing: string | undefined): string {
  const answer = answerFor(subject, trial);
  if (answer) return summary(answer, hasTried(trial));
  return nothing === undefined ? "…" : "Nothing to judge yet.";
}

/** Why there is nothing to judge. */
function nothingIn({ source, label }: Subject, isRule: boolean, words: string): string {
  const what = isRule ? `the rule ${label}` : label;
  const missing = `No scores of ${what} on ${source} are stored for the ${words}.`;
  return `${missing} The service stores scores while it runs, unless history is off. Choose a longer time, or wait for new frames.`;
}

/** The panel beside the rest; on a phone it is a sheet, and a bar says what the settings do. */
function Beside({ children, panel, buttons, summary }: {
  children: ComponentChildren;
  panel: ComponentChildren;
  buttons: ComponentChildren;
  summary: string;
}) {
  const isPhone = useMedia(PHONE);
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <div class="beside tune">
        <div class="stack">{children}</div>
        {!isPhone && <Card class="tune-panel" label="Settings">{panel}{buttons}</Card>}
      </div>
      {isPhone && (
        <div class="tune-bar">
          <p>{summary}</p>
          <Button expanded={isOpen} onClick={() => setOpen(!isOpen)}>Settings</Button>
        </div>
      )}
      {isPhone && isOpen && <Sheet title="Settings" onClose={() => setOpen(false)} actions={buttons}>{panel}</Sheet>}
    </>
  );
}

function Choices({ choices, choice, setQuery }: { choices: readonly Choice[]; choice: ChosenLabel; setQuery: SetQuery }) {
  const labels = choices.find((one) => one.source === choice.source)?.labels ?? [];
  const sets = new Set(labels.map((one) => one.label_set));
  const named = labels.map((one) => ({ value: labelKey(one), text: sets.size > 1 ? `${one.label_set}/${one.label}` : one.label }));
  const other = { set: undefined, label: undefined, from: undefined, to: undefined };
  return (
    <>
      <Select
        label="source:"
        value={choice.source}
        options={choices.filter((one) => one.labels.length > 0).map((one) => ({ value: one.source, text: one.source }))}
        onChange={(source) => setQuery({ ...other, source })}
      />
      <Select
        label="label:"
        value={labelKey(choice)}
        options={named}
        onChange={(key) => {
          const next = labels.find((one) => labelKey(one) === key);
          if (next) setQuery({ ...other, source: choice.source, set: next.label_set, label: next.label });
        }}
      />
    </>
  );
}

/** `604,800 scores · judged in 140 ms`, and what is missing. */
function Facts({ answer, milliseconds }: { answer: TrialAnswer | undefined; milliseconds: number | undefined }) {
  if (!answer) return null;
  const parts = [`${count(answer.scores)} scores`];
  if (milliseconds !== undefined) parts.push(`judged in ${milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : duration(milliseconds / 1000)}`);
  if (answer.gaps > 0) parts.push(`frames are missing in ${count(answer.gaps)} places`);
  if (answer.damaged > 0) parts.push(`${count(answer.damaged)} parts are damaged`);
  return <span>{parts.join(" · ")}</span>;
}

function nameOf({ source, label_set, label }: ChosenLabel): Pick<Subject, "source" | "label_set" | "label"> {
  return { source, label_set, label };
}

/** The time of the address: until now, and the part that is shown of it. */
function useTime(query: Query, setQuery: SetQuery) {
  const found = RANGES.find((one) => one.value === query["range"]) ?? RANGES[2]!;
  const range: RangeName = found.value;
  const [refreshed, refresh] = useState(0);
  const window = useMemo(() => windowOf(range, new Date()), [range, refreshed]);
  const zoom = useMemo(() => zoomOf(query["from"], query["to"]), [query["from"], query["to"]]);
  const shown = useMemo(() => zoom ?? secondsOf(window), [zoom, window]);
  const showPart = (next: readonly [number, number] | undefined) =>
    setQuery({ from: next && String(Math.floor(next[0])), to: next && String(Math.ceil(next[1])) });
  const setRange = (next: RangeName) => {
    setQuery({ range: next, from: undefined, to: undefined });
    // The same range again ends now.
    if (next === range) refresh((before) => before + 1);
  };
  return { range, words: found.words, short: found.short, window, zoom, shown, showPart, setRange };
}

/** An answer with the label and the time that it is about: while a request is in flight, the last answer is about an earlier time. */
interface About<Answer> {
  subject: Subject;
  answer: Answer;
}

/** The scores of the time; and those that are shown, which have more points where a part of the time is chosen. */
function useScores(subject: Subject, zoom: readonly [number, number] | undefined) {
  const { source, label_set, label, since, until } = subject;
  const iso = (second: number) => new Date(second * 1000).toISOString();
  const ask = (window: { since: string; until: string }, signal: AbortSignal) =>
    get("scores", { source, label_set, label, ...window, points: POINTS }, signal);
  const whole = useRequest<About<Scores>>(async (signal) => ({ subject, answer: await ask({ since, until }, signal) }), [subject]);
  const part = useRequest<Scores | undefined>(
    async (signal) => zoom && ask({ since: iso(zoom[0]), until: iso(zoom[1]) }, signal),
    [subject, zoom],
  );
  const reload = () => {
    if (whole.error) whole.reload();
    if (part.error) part.reload();
  };
  return { whole, shown: (zoom && part.answer) ?? whole.answer?.answer, error: whole.error ?? part.error, reload };
}

/**
 * Whether there is anything to judge, so that nothing is asked that the service refuses: scores of the label, or for a rule, which has
 * none, a frame for which it was judged.
 */
function useStored(subject: Subject, isRule: boolean, scores: Loaded<About<Scores>>): Stored & { reload: () => void } {
  const { source, label_set, label, since, until } = subject;
  const isIt = (one: { label_set: string; label: string }) => one.label_set === label_set && one.label === label;
  const askRule = async (signal: AbortSignal) => {
    const { frame, labels } = await get("explain", { source, label_set, label, at: until }, signal);
    return { subject, answer: frame != null && Date.parse(frame.captured_at) >= Date.parse(since) && labels.some(isIt) };
  };
  const rule = useRequest<About<boolean> | undefined>(async (signal) => (isRule ? askRule(signal) : undefined), [subject, isRule]);
  const { error, isLoading, reload } = isRule ? rule : scores;
  if (isRule) return { answer: rule.answer?.subject === subject ? rule.answer.answer : undefined, error, isLoading, reload };
  const found = scores.answer?.subject === subject ? scores.answer.answer : undefined;
  return { answer: found?.labels.some((one) => isIt(one) && one.points.length > 0), error, isLoading, reload };
}

/** The suggestion. When marks were made, it is searched again `QUIET_MS` after the last one. */
function useSuggestion(subject: Subject, isRule: boolean, round: number): Loaded<Suggestion | undefined> {
  const [known, setKnown] = useState(round);
  useEffect(() => {
    const timer = setTimeout(() => setKnown(round), QUIET_MS);
    return () => clearTimeout(timer);
  }, [round]);
  return useRequest<Suggestion | undefined>(async (signal) => (isRule ? undefined : get("suggest", { ...subject }, signal)), [subject, isRule, known]);
}

/** The same object as long as its content is the same. */
function useSame<Value>(value: Value): Value {
  const known = useRef(value);
  if (JSON.stringify(known.current) !== JSON.stringify(value)) known.current = value;
  return known.current;
}

function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const changed = () => setMatches(media.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, [query]);
  return matches;
}
