import { useEffect, useId, useState } from "preact/hooks";
import type { ApiError } from "../../api";
import { score as digits } from "../../format";
import { Field } from "../../parts/Field";
import { Problem } from "../../parts/Problem";
import { asApiError } from "../../request";
import { MOST_TEXTS, type TextScore, scores, words } from "./camera";

/** After the last key, words are scored. */
const PAUSE_MS = 400;

/** What people type. */
export interface Typed {
  labels: string;
  background: string;
  threshold: string;
}

/** What to watch for, with the score of each word on the picture of the camera. */
export function Words({ jpeg, typed, onInput }: { jpeg: string; typed: Typed; onInput: (typed: Typed) => void }) {
  const id = useId();
  const labels = words(typed.labels);
  const background = words(typed.background).filter((word) => !labels.includes(word));
  const texts = [...labels, ...background];
  const { found, error, isLoading } = useScores(jpeg, labels.length > 0 ? texts : []);
  const threshold = Number(typed.threshold);
  return (
    <div class="stack">
      <div class="field">
        <label for={id}>What to watch for, one thing in a line</label>
        <textarea
          id={id}
          rows={3}
          value={typed.labels}
          placeholder={"a person\na parcel on the ground"}
          aria-describedby={`${id}-hint`}
          onInput={(event) => onInput({ ...typed, labels: event.currentTarget.value })}
        />
        <p id={`${id}-hint`} class="field-hint">Describe what the picture shows, such as “a red car in the drive”.</p>
      </div>
      <Field
        label="What is there otherwise"
        value={typed.background}
        onInput={(text) => onInput({ ...typed, background: text })}
        hint="What the camera usually sees. It makes the scores mean something, and never raises an alert."
      />
      {texts.length > MOST_TEXTS && <p class="field-error" role="alert">At most {MOST_TEXTS} things can be tried together.</p>}
      {error && <Problem error={error} />}
      {found.length > 0 && (
        <ul class="start-scores" aria-label="Scores on this picture" aria-busy={isLoading}>
          {texts.filter((text) => found.some((one) => one.text === text)).map((text) => {
            const value = found.find((one) => one.text === text)?.score ?? 0;
            const isLabel = labels.includes(text);
            return (
              <li key={text}>
                <span class={isLabel ? "start-word" : "start-word muted"}>{text}</span>
                <Bar value={value} threshold={isLabel ? threshold : undefined} />
                <span class={`score ${isLabel && value >= threshold ? "score-raised" : ""}`}>{digits(value)}</span>
              </li>
            );
          })}
        </ul>
      )}
      <Field
        label="Alert at this score or above"
        type="number"
        min={0.01}
        max={1}
        step={0.01}
        value={typed.threshold}
        onInput={(text) => onInput({ ...typed, threshold: text })}
        error={isThreshold(threshold) ? undefined : "Write a number above 0 and at most 1."}
        hint="The page Tune finds a better one when there are scores of some days."
      />
    </div>
  );
}

/** Whether a label can have this threshold. */
export function isThreshold(value: number): boolean {
  return value > 0 && value <= 1;
}

function Bar({ value, threshold }: { value: number; threshold?: number }) {
  return (
    <svg class={`start-bar ${threshold !== undefined && value >= threshold ? "start-bar-raised" : ""}`} viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
      <rect class="start-bar-all" width="100" height="10" />
      <rect class="start-bar-value" width={100 * value} height="10" />
      {threshold !== undefined && isThreshold(threshold) && <path class="start-bar-threshold" d={`M${100 * threshold} 0V10`} />}
    </svg>
  );
}

/** The scores of these texts, as soon as no key was pressed for a moment. The last ones stay until then. */
function useScores(jpeg: string, texts: readonly string[]) {
  const [found, setFound] = useState<TextScore[]>([]);
  const [error, setError] = useState<ApiError>();
  const [isLoading, setLoading] = useState(false);
  useEffect(() => {
    if (texts.length === 0 || texts.length > MOST_TEXTS) {
      setFound([]);
      setError(undefined);
      setLoading(false);
      return;
    }
    const control = new AbortController();
    const timer = setTimeout(() => {
      setLoading(true);
      scores(jpeg, texts, control.signal).then(
        (answer) => {
          setFound(answer);
          setError(undefined);
          setLoading(false);
        },
        (thrown: unknown) => {
          if (control.signal.aborted) return;
          setError(asApiError(thrown));
          setLoading(false);
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      control.abort();
    };
  }, [jpeg, JSON.stringify(texts)]);
  return { found, error, isLoading };
}
