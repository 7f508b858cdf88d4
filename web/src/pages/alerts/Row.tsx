import { Button } from "../../parts/Button";
import { Picture } from "../../parts/Picture";
import { Tag } from "../../parts/Tag";
import { Time } from "../../parts/Time";
import { duration, score } from "../../format";
import { type Verdict, hasFailed, verdictOf } from "../../marks";
import type { Entry } from "./list";

/** An entry of the time line. */
export function Row({ entry, isSelected, mayMark, eager, onSelect, onOpen, onMark }: {
  entry: Entry;
  isSelected: boolean;
  /** Whether this person may store verdicts. */
  mayMark: boolean;
  eager: boolean;
  onSelect: () => void;
  onOpen: () => void;
  onMark: (verdict: Verdict) => void;
}) {
  const isNear = entry.state === "near_miss";
  const name = `${entry.label} on ${entry.source}`;
  return (
    <li
      id={rowId(entry.id)}
      class={`entry ${isNear ? "entry-near" : ""} ${isSelected ? "entry-selected" : ""}`}
      tabIndex={-1}
      aria-current={isSelected ? "true" : undefined}
      onClick={onSelect}
    >
      <button type="button" class="entry-picture" onClick={onOpen}>
        <span class="hidden">Show all of {name}</span>
        <Picture address={entry.picture} alt="" score={entry.score} eager={eager} />
      </button>
      <div class="entry-text">
        <p class="entry-name">
          <span>{entry.label}</span>
          <Signs entry={entry} />
        </p>
        <p class="muted">
          {entry.source}
          {entry.region != null && <>, {entry.region}</>} · <Time at={entry.captured_at} />
          <Lasted entry={entry} />
        </p>
        {entry.message != null && <p>{entry.message}</p>}
        <p class="muted small">{entry.reason}</p>
      </div>
      <Verdicts entry={entry} mayMark={mayMark} onMark={onMark} />
    </li>
  );
}

/** The identifier of the element of an entry. */
export function rowId(id: string): string {
  return `entry-${id}`;
}

/** Near miss, still raised, a rule, and its severity. */
export function Signs({ entry }: { entry: Entry }) {
  return (
    <>
      {entry.state === "near_miss" && <Tag>near miss</Tag>}
      {entry.severity != null && <Tag kind={entry.severity === "critical" ? "raised" : "plain"}>{entry.severity}</Tag>}
      {entry.when != null && <Tag>rule</Tag>}
    </>
  );
}

function Lasted({ entry }: { entry: Entry }) {
  if (entry.cleared_at == null) return null;
  const seconds = (Date.parse(entry.cleared_at) - Date.parse(entry.captured_at)) / 1000;
  return <> · cleared after {duration(Math.max(0, seconds))}</>;
}

/** The buttons for right and wrong; what was said already, if this person may not change it. */
export function Verdicts({ entry, mayMark, onMark }: { entry: Entry; mayMark: boolean; onMark: (verdict: Verdict) => void }) {
  const verdict = verdictOf(entry);
  const what = `${entry.label} on ${entry.source}, ${score(entry.score)}`;
  if (!mayMark) {
    return <div class="entry-verdicts">{verdict && <Tag kind={verdict}>{verdict === "right" ? "✓ right" : "✕ wrong"}</Tag>}</div>;
  }
  return (
    <div class="entry-verdicts" role="group" aria-label={`Was ${what} right?`}>
      <Button class="verdict-right" pressed={verdict === "right"} title="y" onClick={() => onMark("right")}>✓ right</Button>
      <Button class="verdict-wrong" pressed={verdict === "wrong"} title="n" onClick={() => onMark("wrong")}>✕ wrong</Button>
      {hasFailed(entry) && <Tag kind="problem">not stored</Tag>}
    </div>
  );
}
