import { count } from "../../format";
import { Button } from "../../parts/Button";
import { Problem } from "../../parts/Problem";
import type { Loaded } from "../../request";
import type { Suggestion, Tried } from "./types";

/** What `tune` suggests, and why; one press tries it. */
export function Suggested({ suggestion, isRule, onApply }: {
  suggestion: Loaded<Suggestion | undefined>;
  isRule: boolean;
  onApply: (changes: Tried) => void;
}) {
  const { answer, error, isLoading } = suggestion;
  return (
    <section class="stack tune-part" aria-label="Suggestion" aria-busy={isLoading || undefined}>
      <h3>Suggestion</h3>
      {isRule && <p class="muted small">A rule follows the settings of its labels.</p>}
      {error && <Problem error={error} onRetry={suggestion.reload} />}
      {!answer && isLoading && <p class="muted small" aria-busy="true">Searching the stored scores…</p>}
      {answer && (
        <>
          <p class="small">{suggestionText(answer)}</p>
          {answer.settings && (
            <div class="row">
              <Button onClick={() => answer.settings && onApply({ ...answer.settings })}>Apply suggestion</Button>
            </div>
          )}
          <p class="muted small">{basis(answer)}</p>
        </>
      )}
    </section>
  );
}

/** `Alert at 0.71, hold 2 of 3: 4 of 4 events are alerted, ...`. */
function suggestionText({ outcome, settings, reason }: Suggestion): string {
  if (outcome === "other" && settings) {
    const hold = settings.hold === "1 of 1" ? "" : `, hold ${settings.hold}`;
    return `Alert at ${settings.threshold}, clear below ${settings.clear_below}${hold}: ${ended(reason)}`;
  }
  return outcome === "good" ? `Good as it is: ${ended(reason)}` : ended(reason.charAt(0).toUpperCase() + reason.slice(1));
}

function ended(text: string): string {
  return text.endsWith(".") ? text : `${text}.`;
}

/** What the suggestion was learnt from. */
function basis({ marks, scores, left_out, is_cut }: Suggestion): string {
  const parts = [marks === 0 ? "No marks: mark alerts, and the suggestion knows which are right." : `Learnt from ${count(marks)} marks and ${count(scores)} scores.`];
  if (left_out > 0) parts.push(`${count(left_out)} scores of other words, regions or models were left out.`);
  if (is_cut) parts.push("Only the first scores of this time were used.");
  return parts.join(" ");
}
