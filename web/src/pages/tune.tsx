// A threshold is dragged over the stored scores of one label on one source: the alerts that it would have raised appear at once. The
// source, the label, the time and what is shown of it are in the address.

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { call } from "../api";
import { count, duration } from "../format";
import { Button } from "../parts/Button";
import { Card } from "../parts/Card";
import { Chip, Chips } from "../parts/Chip";
import { Empty } from "../parts/Empty";
import { Heading } from "../parts/Heading";
import { Keys, useKeys } from "../parts/Keys";
import { Problem } from "../parts/Problem";
import { Select } from "../parts/Select";
import { Sheet } from "../parts/Sheet";
import { TimeChart } from "../parts/TimeChart";
import { toast } from "../parts/Toast";
import { type Loaded, useRequest } from "../request";
import { useQuery } from "../router";
import { useMayChange } from "../session";
import { AnswerLine, sentence, total } from "./tune/Answer";
import { Fields } from "./tune/Fields";
import { Pictures, pictureId } from "./tune/Pictures";
import { LinesToPaste, useSaving } from "./tune/Save";
import { Suggested } from "./tune/Suggested";
import { type TriedWords, Words } from "./tune/Words";
import { drawn, levels, marks as signs, spans } from "./tune/chart";
import { useMarks } from "./tune/marks";
import { type Choice, RANGES, type RangeName, choose, labelKey, windowOf } from "./tune/subject";
import { useTrial } from "./tune/trial";
import {
  NOTHING, type Scores, type Subject, type Suggestion, type TriedAlert, type TrialRequest, type Verdict,
  forConfiguration, isTried, withChanges,
} from "./tune/types";

/** The points of the line, at most. */
const POINTS = 1000;
/** The pictures that are shown first, and with each further press. */
const PAGE = 60;
const MOST = 1000;
/** The suggestion is searched again when no mark was made for this long. */
const QUIET_MS = 1_500;
const PHONE = "(max-width: 600px)";

export default function Page() {
  const [query, setQuery] = useQuery();
  const sources = useRequest((signal) => call<{ sources: Choice[] }>("GET", "sources", {}, signal), []);
  const choice = choose(sources.answer?.sources ?? [], query);
  if (sources.error && !sources.answer) return <><Heading title="Tune" /><Problem error={sources.error} onRetry={sources.reload} /></>;
  if (!sources.answer) return <><Heading title="Tune" /><p class="muted" aria-busy="true">Loading…</p></>;
  if (!choice) {
    return (
      <>
        <Heading title="Tune" />
        <Empty title="There is no label to tune"><p>Add a source with a label set first.</p></Empty>
      </>
    );
  }
  return <Tuned key={`${choice.source} ${labelKey(choice)}`} choices={sources.answer.sources} choice={choice} query={query} setQuery={setQuery} />;
}

/** The page of one label. */
function Tuned({ choices, choice, query, setQuery }: {
  choices: readonly Choice[];
  choice: NonNullable<ReturnType<typeof choose>>;
  query: Record<string, string>;
  setQuery: (changes: Record<string, string | undefined>, replace?: boolean) => void;
}) {
  const range: RangeName = RANGES.find((one) => one.value === query["range"])?.value ?? "7d";
  const [refreshed, refresh] = useState(0);
  const window = useMemo(() => windowOf(range, new Date()), [range, refreshed]);
  const { words, short } = RANGES.find((one) => one.value === range)!;
  const { source, label_set, label, isRule } = choice;
  const subject: Subject = useMemo(() => ({ source, label_set, label, ...window }), [source, label_set, label, window]);
  const zoom = useMemo(() => zoomOf(query["from"], query["to"]), [query["from"], query["to"]]);

  const [tried, setTried] = useState(NOTHING);
  const [limit, setLimit] = useState(PAGE);
  const [selected, select] = useState<string>();
  const [otherWords, setOtherWords] = useState<TriedWords>();
  const mayChange = useMayChange();
  const marks = useMarks(subject);
  const trial = useTrial(useMemo<TrialRequest>(() => ({ ...subject, ...tried, limit }), [subject, tried, limit]), marks.round);
  const settings = trial.answer?.settings;
  const change = useCallback(
    (changes: typeof tried) => settings && setTried((before) => withChanges(settings, before, changes)),
    [settings],
  );
  const suggestion = useSuggestion(subject, isRule, marks.round);
  const scores = useRequest(
    (signal) => call<Scores>("GET", "scores", { source, label_set, label, ...(zoom ? isoOf(zoom) : window), points: POINTS }, signal),
    [source, label_set, label, window, zoom],
  );

  const alerts = trial.answer?.alerts ?? [];
  const lost = trial.answer?.lost_alerts ?? [];
  const shown = [...alerts, ...lost];
  useJudging(shown, selected, select, marks, mayChange);
  const chart = useMemo(() => drawn(scores.answer, { label_set, label }, otherWords?.scores, settings), [scores.answer, otherWords, settings]);
  const shownRange = useMemo(() => zoom ?? secondsOf(window), [zoom, window]);
  const lines = useMemo(() => levels(settings, tried, chart.top, change), [settings, tried, chart.top, change]);
  const shades = useMemo(() => spans(trial.answer), [trial.answer]);
  const dots = useMemo(() => signs(shown, marks.of), [trial.answer, marks.said]);
  const showPart = (next: readonly [number, number] | undefined) =>
    setQuery({ from: next && String(Math.floor(next[0])), to: next && String(Math.ceil(next[1])) });
  const saving = useSaving(subject, mayChange);
  const place = { source: suggestion.answer?.configured.is_adjusted ? source : undefined, label_set, label };
  const isPhone = useMedia(PHONE);
  const [isOpen, setOpen] = useState(false);

  const panel = (
    <Panel
      {...{ trial, suggestion, subject, isRule, words, short, tried }}
      onChange={change}
      otherWords={otherWords}
      onWords={setOtherWords}
      onSaveWords={(prompts) => void saving.save({ ...place, source: undefined }, { prompts })}
    />
  );
  const buttons = (
    <Buttons
      isTried={isTried(tried)}
      isSaving={saving.isSaving}
      canSave={!isRule && settings !== undefined && suggestion.answer !== undefined}
      scope={scopeOf(suggestion.answer, source, label_set)}
      onSave={() => settings && void saving.save(place, forConfiguration(settings, tried))}
      onRevert={() => setTried(NOTHING)}
    />
  );
  return (
    <>
      <Heading title={`${source} / ${label}`} aside={<Facts trial={trial} />}>
        <Choices choices={choices} choice={choice} setQuery={setQuery} />
        <Chips
          label="Time"
          value={range}
          options={RANGES}
          onChange={(value) => {
            setQuery({ range: value, from: undefined, to: undefined });
            refresh((before) => before + 1);
          }}
        />
        {zoom && <Chip onRemove={() => showPart(undefined)} removeLabel="Show the whole time">part of it</Chip>}
      </Heading>
      <div class="beside tune">
        <div class="stack">
          {trial.error && !isShownInField(trial.error.where) && <Problem error={trial.error} />}
          {scores.error && <Problem error={scores.error} onRetry={scores.reload} />}
          <Card label="Scores">
            <TimeChart
              label={`Scores of ${label} on ${source}, ${words}`}
              {...chart}
              levels={lines}
              spans={shades}
              marks={dots}
              range={shownRange}
              onRange={showPart}
              onPick={(at) => select(nearest(shown, at)?.time)}
            />
            <p class="muted small tune-hint">Drag the pills, or use the arrow keys. Drag over the chart to look at a part, and double-click for all.</p>
          </Card>
          <Card title="What would have alerted" actions={<Keys keys={[["j k", "move"], ["y", "right"], ["n", "wrong"], ["u", "undo"]]} />}>
            <Shown {...{ alerts, selected, marks, mayChange, select }} />
            {alerts.length === 0 && trial.answer && <p class="muted">These settings raise no alert in this time.</p>}
            <More shown={alerts.length} all={trial.answer?.then.alerts ?? 0} limit={limit} onMore={() => setLimit((before) => Math.min(MOST, before + PAGE))} />
            {lost.length > 0 && trial.answer && (
              <>
                <hr class="rule" />
                <h3 class="tune-lost">Lost: {count(total(trial.answer.lost))} of today's alerts</h3>
                <Shown {...{ alerts: lost, selected, marks, mayChange, select }} />
              </>
            )}
          </Card>
        </div>
        {!isPhone && <Card class="tune-panel" label="Settings">{panel}{buttons}</Card>}
      </div>
      {isPhone && (
        <div class="tune-bar">
          <p>{trial.answer ? sentence(trial.answer, isTried(tried)) : "…"}</p>
          <Button expanded={isOpen} onClick={() => setOpen(!isOpen)}>Settings</Button>
        </div>
      )}
      {isPhone && isOpen && <Sheet title="Settings" onClose={() => setOpen(false)} actions={buttons}>{panel}</Sheet>}
      {saving.unsaved && <LinesToPaste unsaved={saving.unsaved} onClose={saving.close} />}
    </>
  );
}

/** The answer, the suggestion, the settings and the words. */
function Panel({ trial, suggestion, subject, isRule, words, short, tried, otherWords, onChange, onWords, onSaveWords }: {
  trial: ReturnType<typeof useTrial>;
  suggestion: Loaded<Suggestion>;
  subject: Subject;
  isRule: boolean;
  words: string;
  short: string;
  tried: typeof NOTHING;
  otherWords: TriedWords | undefined;
  onChange: (changes: typeof NOTHING) => void;
  onWords: (words: TriedWords | undefined) => void;
  onSaveWords: (prompts: string[]) => void;
}) {
  const settings = trial.answer?.settings;
  return (
    <div class="stack">
      <AnswerLine trial={trial} range={words} tried={isTried(tried)} />
      <hr class="rule" />
      <Suggested suggestion={suggestion} isRule={isRule} onApply={onChange} />
      <hr class="rule" />
      {settings && <Fields settings={settings} tried={tried} error={trial.error} onChange={onChange} />}
      {!isRule && <hr class="rule" />}
      {!isRule && (
        <Words subject={subject} range={short} configured={suggestion.answer?.configured} tried={otherWords} onTried={onWords} onSave={onSaveWords} />
      )}
    </div>
  );
}

function Buttons({ isTried, isSaving, canSave, scope, onSave, onRevert }: {
  isTried: boolean;
  isSaving: boolean;
  canSave: boolean;
  scope: string;
  onSave: () => void;
  onRevert: () => void;
}) {
  return (
    <div class="tune-buttons">
      {isTried && canSave && <p class="muted small">{scope}</p>}
      <div class="row">
        <Button kind="primary" class="tune-save" busy={isSaving} disabled={!isTried || !canSave} onClick={onSave}>Save</Button>
        <Button disabled={!isTried} onClick={onRevert}>Revert</Button>
      </div>
    </div>
  );
}

/** Where the settings are saved, and what else they are for. */
function scopeOf(suggestion: Suggestion | undefined, source: string, label_set: string): string {
  if (!suggestion) return "";
  const { is_adjusted, sources } = suggestion.configured;
  if (is_adjusted) return `Saves the settings of ${source} only.`;
  return sources > 1 ? `Saves the settings of ${label_set}, which ${count(sources)} sources watch.` : `Saves the settings of ${label_set}.`;
}

function Choices({ choices, choice, setQuery }: {
  choices: readonly Choice[];
  choice: NonNullable<ReturnType<typeof choose>>;
  setQuery: (changes: Record<string, string | undefined>) => void;
}) {
  const labels = choices.find((one) => one.source === choice.source)?.labels ?? [];
  const sets = new Set(labels.map((one) => one.label_set));
  const named = labels.map((one) => ({ value: labelKey(one), text: sets.size > 1 ? `${one.label_set}/${one.label}` : one.label }));
  const other = { set: undefined, label_set: undefined, label: undefined, from: undefined, to: undefined };
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
function Facts({ trial }: { trial: ReturnType<typeof useTrial> }) {
  const { answer, milliseconds } = trial;
  if (!answer) return null;
  const parts = [`${count(answer.scores)} scores`];
  if (milliseconds !== undefined) parts.push(`judged in ${milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : duration(milliseconds / 1000)}`);
  if (answer.gaps > 0) parts.push(`frames are missing in ${count(answer.gaps)} places`);
  if (answer.damaged > 0) parts.push(`${count(answer.damaged)} parts are damaged`);
  return <span>{parts.join(" · ")}</span>;
}

function Shown({ alerts, selected, marks, mayChange, select }: {
  alerts: readonly TriedAlert[];
  selected: string | undefined;
  marks: ReturnType<typeof useMarks>;
  mayChange: boolean;
  select: (time: string) => void;
}) {
  if (alerts.length === 0) return null;
  return (
    <Pictures
      alerts={alerts}
      selected={selected}
      verdictOf={marks.of}
      mayMark={mayChange}
      onSelect={(alert) => select(alert.time)}
      onMark={marks.set}
    />
  );
}

function More({ shown, all, limit, onMore }: { shown: number; all: number; limit: number; onMore: () => void }) {
  if (shown >= all) return null;
  if (limit >= MOST) return <p class="muted small">The newest {count(shown)} of {count(all)} alerts are shown.</p>;
  return <div class="row tune-more"><Button onClick={onMore}>Show more of {count(all)}</Button></div>;
}

/** The keys: j and k move, y and n judge, u takes back. */
function useJudging(
  shown: readonly TriedAlert[],
  selected: string | undefined,
  select: (time: string) => void,
  marks: ReturnType<typeof useMarks>,
  mayChange: boolean,
) {
  const place = shown.findIndex((alert) => alert.time === selected);
  const move = (to: number) => {
    const next = shown[Math.min(Math.max(to, 0), shown.length - 1)];
    if (!next) return;
    select(next.time);
    document.getElementById(pictureId(next.time))?.scrollIntoView({ block: "nearest" });
  };
  const judge = (verdict: Verdict) => {
    const alert = shown[place];
    // The first key chooses the first alert, so that nothing is judged unseen.
    if (!alert) return move(0);
    if (!mayChange) return toast("You may look and not mark: sign in with the right to change.");
    marks.set(alert, verdict);
    move(place + 1);
  };
  useKeys({
    j: () => move(place + 1),
    k: () => move(place - 1),
    y: () => judge("right"),
    n: () => judge("wrong"),
    u: () => {
      const time = marks.undo();
      if (time) select(time);
      else toast("There is nothing to undo.");
    },
  });
}

/** The suggestion. When marks were made, it is searched again `QUIET_MS` after the last one. */
function useSuggestion(subject: Subject, isRule: boolean, round: number): Loaded<Suggestion> {
  const [known, setKnown] = useState(round);
  useEffect(() => {
    const timer = setTimeout(() => setKnown(round), QUIET_MS);
    return () => clearTimeout(timer);
  }, [round]);
  const ask = (signal: AbortSignal) => call<Suggestion>("GET", "suggest", { ...subject }, signal);
  const none = () => Promise.resolve(undefined as unknown as Suggestion);
  return useRequest(isRule ? none : ask, [subject, isRule, known]);
}

/** The part of the time that is shown, in seconds; `undefined`: all of it. */
function zoomOf(typedFrom: string | undefined, typedTo: string | undefined): [number, number] | undefined {
  const [from, to] = [Number(typedFrom), Number(typedTo)];
  return Number.isFinite(from) && Number.isFinite(to) && from > 0 && to > from ? [from, to] : undefined;
}

function secondsOf({ since, until }: { since: string; until: string }): [number, number] {
  return [Date.parse(since) / 1000, Date.parse(until) / 1000];
}

function isoOf([from, to]: [number, number]): { since: string; until: string } {
  return { since: new Date(from * 1000).toISOString(), until: new Date(to * 1000).toISOString() };
}

function nearest(alerts: readonly TriedAlert[], at: number): TriedAlert | undefined {
  const distance = (alert: TriedAlert) => Math.abs(Date.parse(alert.time) / 1000 - at);
  return alerts.reduce<TriedAlert | undefined>((best, alert) => (!best || distance(alert) < distance(best) ? alert : best), undefined);
}

/** Errors of fields are shown there. */
function isShownInField(place: string | undefined): boolean {
  return ["hold", "for", "cooldown", "active", "rise", "clear_rise"].includes(place ?? "");
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
