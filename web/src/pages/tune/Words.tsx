import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, post } from "../../api";
import { count } from "../../format";
import { Button } from "../../parts/Button";
import { Chip } from "../../parts/Chip";
import { Field } from "../../parts/Field";
import { Problem } from "../../parts/Problem";
import { asApiError } from "../../request";
import type { Subject, Suggestion, WordScores } from "./types";

/** The most words that the service takes. */
const MOST = 16;

/** Words that were tried, and their scores. */
export interface TriedWords {
  /** The label and the time. */
  subject: Subject;
  prompts: string[];
  scores: WordScores;
}

/** The words of the label, and others that are tried on stored embeddings. Their scores are a second line of the chart. */
export function Words({ subject, range, configured, tried, isSaving, onTried, onSave }: {
  subject: Subject;
  /** `last week`. */
  range: string;
  configured: Suggestion["configured"] | undefined;
  tried: TriedWords | undefined;
  isSaving: boolean;
  onTried: (words: TriedWords | undefined) => void;
  onSave: (prompts: string[]) => void;
}) {
  // On a phone the sheet with this part was closed, perhaps, and is open again.
  const [isOpen, setOpen] = useState(tried !== undefined);
  const [prompts, setPrompts] = useState(tried?.prompts ?? []);
  const [draft, setDraft] = useState("");
  const [error, setError] = useState<ApiError>();
  const [isBusy, setBusy] = useState(false);
  const request = useRef<AbortController>(undefined);
  useEffect(() => () => request.current?.abort(), []);
  if (!configured) return null;

  const open = () => {
    setPrompts(configured.prompts);
    setOpen(true);
  };
  const added = draft.trim();
  const all = added === "" || prompts.includes(added) ? prompts : [...prompts, added];
  const attempt = async () => {
    request.current?.abort();
    const { signal } = (request.current = new AbortController());
    setPrompts(all);
    setDraft("");
    setBusy(true);
    setError(undefined);
    try {
      const scores = await post("try_words", { ...subject, prompts: all, points: 1000 }, signal);
      if (signal.aborted) return;
      onTried({ subject, prompts: all, scores });
    } catch (thrown) {
      if (signal.aborted) return;
      setError(asApiError(thrown));
    }
    setBusy(false);
  };
  const close = () => {
    request.current?.abort();
    setBusy(false);
    setError(undefined);
    setOpen(false);
    onTried(undefined);
  };
  return (
    <section class="stack tune-part" aria-label="Words">
      <h3>Words</h3>
      {!isOpen && <p class="chips">{configured.prompts.map((prompt) => <Chip key={prompt}>{prompt}</Chip>)}</p>}
      {!isOpen && configured.has_embeddings && <div class="row"><Button onClick={open}>Try other words on {range}</Button></div>}
      {!isOpen && !configured.has_embeddings && (
        <p class="muted small">To try other words on stored pictures, set <code>{"history: { search: true }"}</code>.</p>
      )}
      {isOpen && (
        <form class="stack" onSubmit={(event) => { event.preventDefault(); void attempt(); }}>
          <p class="chips">
            {prompts.map((prompt) => (
              <Chip key={prompt} onRemove={() => setPrompts(prompts.filter((other) => other !== prompt))} removeLabel={`Remove ${prompt}`}>{prompt}</Chip>
            ))}
          </p>
          {prompts.length < MOST && <Field label="Other words" value={draft} onInput={setDraft} placeholder="a red car at the gate" maxLength={300} autofocus />}
          <div class="row">
            <Button type="submit" busy={isBusy} disabled={all.length === 0}>Try these words</Button>
            <Button kind="quiet" onClick={close}>Close</Button>
          </div>
          {error && <Problem error={error} />}
          {tried && (
            <>
              <p class="small" role="status">{found(tried.scores)}</p>
              <div class="row"><Button busy={isSaving} onClick={() => onSave(tried.prompts)}>Save these words</Button></div>
            </>
          )}
        </form>
      )}
    </section>
  );
}

/** What the second line shows. */
function found({ points, embeddings, embeddings_of_other_models, changes_other_labels }: WordScores): string {
  const parts: string[] = [];
  if (points.length === 0) parts.push("No embeddings are stored for this time.");
  else parts.push(`The red line has the scores of these words on ${count(embeddings)} stored embeddings. Alerts are still those of the words in force.`);
  if (embeddings_of_other_models > 0) parts.push(`${count(embeddings_of_other_models)} embeddings of other models cannot be scored.`);
  if (changes_other_labels) parts.push("With this model the scores of the other labels of the set change, too.");
  return parts.join(" ");
}
