import { count } from "../../format";
import { Button } from "../../parts/Button";
import type { Loaded } from "../../request";
import { AnswerLine } from "./Answer";
import { Fields } from "./Fields";
import { Suggested } from "./Suggested";
import { type TriedWords, Words } from "./Words";
import type { Trial } from "./trial";
import type { Subject, Suggestion, Tried } from "./types";

/** The answer, the suggestion, the settings and the words. */
export function Panel({ trial, nothing, suggestion, subject, isRule, words, short, tried, otherWords, isSaving, onChange, onWords, onSaveWords }: {
  trial: Trial;
  /** Why there is nothing to judge. */
  nothing: string | undefined;
  suggestion: Loaded<Suggestion | undefined>;
  subject: Subject;
  isRule: boolean;
  /** `last 7 days`, and `last week`. */
  words: string;
  short: string;
  tried: Tried;
  otherWords: TriedWords | undefined;
  isSaving: boolean;
  onChange: (changes: Tried) => void;
  onWords: (words: TriedWords | undefined) => void;
  onSaveWords: (prompts: string[]) => void;
}) {
  const settings = trial.answer?.settings;
  return (
    <div class="stack">
      <AnswerLine trial={trial} subject={subject} range={words} nothing={nothing} />
      <hr class="rule" />
      <Suggested suggestion={suggestion} isRule={isRule} onApply={onChange} />
      <hr class="rule" />
      {settings && <Fields settings={settings} tried={tried} error={trial.error} onChange={onChange} />}
      {!isRule && <hr class="rule" />}
      {!isRule && (
        <Words
          {...{ subject, isSaving }}
          range={short}
          configured={suggestion.answer?.configured}
          tried={otherWords}
          onTried={onWords}
          onSave={onSaveWords}
        />
      )}
    </div>
  );
}

/** Save and Revert, and what a save changes. */
export function Buttons({ isTried, isSaving, canSave, scope, onSave, onRevert }: {
  isTried: boolean;
  isSaving: boolean;
  canSave: boolean;
  scope: string;
  onSave: () => void;
  onRevert: () => void;
}) {
  return (
    <div class="tune-buttons">
      {isTried && scope !== "" && <p class="muted small">{scope}</p>}
      <div class="row">
        <Button kind="primary" class="tune-save" busy={isSaving} disabled={!isTried || !canSave} onClick={onSave}>Save</Button>
        <Button disabled={!isTried} onClick={onRevert}>Revert</Button>
      </div>
    </div>
  );
}

/** Where the settings are saved, and what else they are for. */
export function scopeOf(suggestion: Suggestion | undefined, isRule: boolean, { source, label_set, label }: Subject): string {
  if (isRule) return `${label} is a rule of ${label_set}: change its settings on the page Configuration.`;
  if (!suggestion) return "";
  const { is_adjusted, sources } = suggestion.configured;
  if (is_adjusted) return `Saves the settings of ${source} only.`;
  return sources > 1 ? `Saves the settings of ${label_set}, which ${count(sources)} sources watch.` : `Saves the settings of ${label_set}.`;
}
