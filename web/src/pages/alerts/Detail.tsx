// Everything that is stored of one entry and around it.

import { useEffect, useMemo, useState } from "preact/hooks";
import { type Answer, type Schema, get } from "../../api";
import { clock, duration, score } from "../../format";
import { judgingKeys } from "../../judging";
import type { Verdict } from "../../marks";
import { useKeys } from "../../parts/Keys";
import { Picture } from "../../parts/Picture";
import { Problem } from "../../parts/Problem";
import { Sheet } from "../../parts/Sheet";
import { TimeChart } from "../../parts/TimeChart";
import { useRequest } from "../../request";
import { link } from "../../router";
import { Signs, Verdicts } from "./Row";
import type { Entry } from "./list";

/** An entry, and what is stored around it. */
type Everything = Answer<"entry">;
type Around = Everything["pictures"][number];
type Published = Everything["alert"];

/**
 * When a sheet that stays open asks again: the service stores what it has just seen within ten seconds, and the minute after an alert
 * has passed then.
 */
const STORED_SECONDS = [11, 71];

/** The sheet of an entry. What the list knows is shown at once, and the rest when it arrives. */
export function Detail({ id, known, mayMark, onMark, onClose }: {
  id: string;
  known: Entry | undefined;
  mayMark: boolean;
  onMark: (entry: Entry, verdict: Verdict) => void;
  onClose: () => void;
}) {
  const { answer, error, isLoading, reload } = useRequest((signal) => get("entry", { id }, signal), [id]);
  useEffect(() => {
    const timers = STORED_SECONDS.map((seconds) => setTimeout(reload, seconds * 1000));
    return () => timers.forEach(clearTimeout);
  }, [id]);
  const everything = answer?.entry.id === id ? answer : undefined;
  const entry = known ?? everything?.entry;
  // The page judges what is in its list, and this sheet judges an entry that is not, such as that of a link.
  const { y, n } = judgingKeys({
    current: known ? undefined : entry,
    mayMark,
    onFirst: () => false,
    onNext: () => undefined,
    onUndone: () => false,
  });
  useKeys({ y, n });
  const title = entry ? `${entry.label} on ${entry.source}` : "Alert";
  return (
    <Sheet title={title} onClose={onClose} actions={entry && <Verdicts entry={entry} mayMark={mayMark} onMark={(verdict) => onMark(entry, verdict)} />}>
      <div class="stack detail" aria-busy={isLoading || undefined}>
        {entry && <Seen key={entry.id} entry={entry} pictures={everything?.pictures ?? []} />}
        {entry && <Facts entry={entry} alert={everything?.alert} />}
        {error && !isLoading && <Problem error={error} onRetry={reload} />}
        {everything && everything.scores.length > 1 && <Scores everything={everything} />}
        {everything && <Labels everything={everything} />}
        {entry && <Further entry={entry} />}
      </div>
    </Sheet>
  );
}

/** The picture of the entry, or one before or after it. */
function Seen({ entry, pictures }: { entry: Entry; pictures: Around[] }) {
  const own = { captured_at: entry.captured_at, picture: entry.picture, score: entry.score };
  const [chosen, choose] = useState<string>();
  useEffect(() => choose(undefined), [entry.id]);
  const shown = pictures.find((around) => around.picture === chosen) ?? own;
  return (
    <>
      <Picture address={shown.picture} alt={`${entry.source} at ${clock(new Date(shown.captured_at), true)}`} score={shown.score} fit="contain" eager />
      {pictures.length > 1 && (
        <ul class="around" aria-label="Before and after">
          {pictures.map((around) => {
            const offset = away(around.captured_at, entry.captured_at);
            return (
              <li key={around.picture}>
                <button type="button" aria-pressed={around.picture === shown.picture} onClick={() => choose(around.picture)}>
                  <Picture address={around.picture} alt="" score={around.score} />
                  <span class="small muted">{offset}</span>
                </button>
              </li>
            );
          })}
        </ul>
      )}
    </>
  );
}

/** How far a time is away: `3 s before`. */
function away(at: string, from: string): string {
  const seconds = (Date.parse(at) - Date.parse(from)) / 1000;
  if (seconds === 0) return "this frame";
  return `${duration(Math.abs(seconds))} ${seconds < 0 ? "before" : "after"}`;
}

function Facts({ entry, alert }: { entry: Entry; alert: Published }) {
  const at = new Date(entry.captured_at);
  const facts: [string, string | null | undefined][] = [
    ["why", entry.reason],
    ["condition", entry.when],
    ["captured", `${at.toLocaleDateString("en-GB")} ${clock(at, true)}`],
    ["region", entry.region],
    ["label set", entry.label_set],
    ["score", entry.score == null ? null : `${score(entry.score)}, threshold ${score(entry.threshold)}`],
    ["cleared below", entry.clear_below == null ? null : score(entry.clear_below)],
    ["baseline", entry.baseline == null ? null : score(entry.baseline)],
    ["message", entry.message],
    ["background", typeof alert?.scores["background"] === "number" ? score(alert.scores["background"]) : null],
    ["model", alert?.model],
    ["from", alert?.frame.origin],
    ["id", entry.id],
  ];
  return (
    <div class="stack">
      {(entry.state === "near_miss" || entry.severity != null || entry.when != null) && <p class="row"><Signs entry={entry} /></p>}
      <dl class="facts">
        {facts.map(([name, value]) => value != null && value !== "" && (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** The scores of the label in the minute before and after. */
function Scores({ everything: { entry, scores } }: { everything: Everything }) {
  const times = useMemo(() => scores.map((one) => Date.parse(one.captured_at) / 1000), [scores]);
  const series = useMemo(() => [{ name: entry.label, values: scores.map((one) => one.score) }], [entry.label, scores]);
  const levels = useMemo(
    () => (entry.threshold == null ? [] : [{ kind: "now" as const, value: entry.threshold, text: "threshold" }]),
    [entry.threshold],
  );
  const marks = useMemo(() => {
    const kind = entry.state === "near_miss" ? ("near" as const) : ("alert" as const);
    return entry.score == null ? [] : [{ at: Date.parse(entry.captured_at) / 1000, value: entry.score, kind }];
  }, [entry]);
  return (
    <section class="stack">
      <h3>Scores before and after</h3>
      <TimeChart label={`Scores of ${entry.label} in the minute before and after`} times={times} series={series} levels={levels} marks={marks} />
    </section>
  );
}

/** Every label on this frame: its score, and what let it through or held it. */
function Labels({ everything: { entry, labels, alert } }: { everything: Everything }) {
  if (labels.length === 0) {
    const others = Object.entries(alert?.scores ?? {});
    if (others.length === 0) return <p class="muted small">The scores of this frame are not stored.</p>;
    return (
      <section class="stack">
        <h3>Scores of this frame</h3>
        <table class="table">
          <tbody>
            {others.map(([label, value]) => <tr key={label}><td>{label}</td><td>{typeof value === "number" ? score(value) : ""}</td></tr>)}
          </tbody>
        </table>
      </section>
    );
  }
  return (
    <section class="stack">
      <h3>All labels of this frame</h3>
      <table class="table">
        <thead>
          <tr><th scope="col">label</th><th scope="col">score</th><th scope="col">threshold</th><th scope="col">gates</th></tr>
        </thead>
        <tbody>
          {labels.map((label) => (
            <tr key={`${label.label_set}/${label.label}`} class={label.label === entry.label && label.label_set === entry.label_set ? "own" : ""}>
              <td>{label.label}</td>
              <td>{score(label.score)}</td>
              <td>{score(label.threshold)}</td>
              <td>{gates(label)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function gates(label: Schema<"ExplainedLabel">): string {
  if (label.raised) return label.passed.length > 0 ? `raised; passed: ${label.passed.join(", ")}` : "raised";
  const also = label.also_held_by.length > 0 ? `; also ${label.also_held_by.join(", ")}` : "";
  return label.reason ? `held: ${label.reason}${also}` : "not raised";
}

function Further({ entry }: { entry: Entry }) {
  const like = { like: entry.source, at: entry.captured_at, region: entry.region ?? undefined, picture: entry.picture ?? undefined };
  return (
    <p class="row">
      <a class="button" href={link("search", like)}>Find similar</a>
      {entry.when == null && (
        <a class="button" href={link("tune", { source: entry.source, set: entry.label_set, label: entry.label })}>Tune this label</a>
      )}
    </p>
  );
}
