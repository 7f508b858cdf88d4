import { count, counted } from "../../format";
import type { Trial } from "./trial";
import { type Subject, type TrialAnswer, type Verdicts, isTried } from "./types";

/** What the settings do, as a sentence: `8 alerts instead of 4; 4 right, 2 wrong, 2 unmarked`. */
export function AnswerLine({ trial, subject, range, nothing }: {
  trial: Trial;
  subject: Subject;
  range: string;
  /** Why there is nothing to judge. */
  nothing: string | undefined;
}) {
  const answer = answerFor(subject, trial);
  if (!answer) {
    const text = trial.isBusy ? "Judging the stored scores…" : (nothing ?? "No answer.");
    return <p class="muted" role="status" aria-busy={trial.isBusy || undefined}>{text}</p>;
  }
  const tried = hasTried(trial);
  const { then, now } = answer;
  return (
    <div class="tune-answer" aria-busy={trial.isBusy || undefined}>
      <p class="muted small">With {tried ? "these" : "today's"} settings, {range}</p>
      <p aria-hidden="true">
        <span class="tune-count">{counted(then.alerts, "alert")}</span>{" "}
        {tried && <span class="muted">instead of {count(now.alerts)}</span>}
      </p>
      <p class="tune-verdicts" aria-hidden="true">
        <span class="tune-right">{count(then.right)} right</span>
        <span class="tune-wrong">{count(then.wrong)} wrong</span>
        <span class="muted">{count(then.unmarked)} unmarked</span>
      </p>
      {tried && <p class="small" aria-hidden="true">{differences(answer)}</p>}
      <p class="hidden" role="status">{summary(answer, tried)}</p>
    </div>
  );
}

/** The answer, if it is about this time and not about the one that was chosen before. */
export function answerFor(subject: Subject, { asked, answer }: Trial): TrialAnswer | undefined {
  return asked?.subject === subject ? answer : undefined;
}

/** Whether the answer is about other settings than those in force. Others may be chosen while the request is in flight. */
export function hasTried({ asked }: Trial): boolean {
  return asked !== undefined && isTried(asked.tried);
}

/** The whole sentence, for screen readers and for the bar of a phone. */
export function summary(answer: TrialAnswer, tried: boolean): string {
  const { then, now } = answer;
  const instead = tried ? ` instead of ${count(now.alerts)}` : "";
  const all = `${counted(then.alerts, "alert")}${instead}; ${count(then.right)} right, ${count(then.wrong)} wrong, ${count(then.unmarked)} unmarked`;
  return tried ? `${all}; ${differences(answer)}` : all;
}

/** `4 new, 2 of them wrong; 1 of 9 right ones lost`. */
function differences({ now, then, new: added, lost }: TrialAnswer): string {
  const parts: string[] = [];
  if (total(added) > 0) {
    const known = [added.right > 0 && `${count(added.right)} right`, added.wrong > 0 && `${count(added.wrong)} wrong`].filter(Boolean);
    parts.push(`${count(total(added))} new${known.length > 0 ? ` (${known.join(", ")})` : ""}`);
  }
  if (lost.right > 0) parts.push(`${count(lost.right)} of ${count(now.right)} right ones lost`);
  const others = lost.wrong + lost.unmarked;
  const lostOthers = lost.right > 0 ? counted(others, "other") : count(others);
  if (others > 0) parts.push(`${lostOthers} lost${lost.wrong > 0 ? ` (${count(lost.wrong)} wrong)` : ""}`);
  return parts.length > 0 ? parts.join("; ") : unchanged(now.alerts, then.alerts);
}

/** Nothing is new and nothing is lost. Alerts of the service may become one, and one that began before the window is in no number. */
function unchanged(now: number, then: number): string {
  if (now === then) return "the same alerts";
  return `the same events in ${then < now ? "fewer" : "more"} alerts`;
}

export function total({ right, wrong, unmarked }: Verdicts): number {
  return right + wrong + unmarked;
}
