import type { Ref } from "preact";
import { useId } from "preact/hooks";

interface Props {
  label: string;
  value: string;
  onInput: (value: string) => void;
  /** The field was left, or Enter was pressed in it. */
  onChange?: (value: string) => void;
  /** A sentence below the field. */
  hint?: string;
  /** What is wrong with the value. */
  error?: string;
  type?: "text" | "search" | "password" | "url" | "number" | "datetime-local";
  placeholder?: string;
  /** The label is only for screen readers. */
  hideLabel?: boolean;
  disabled?: boolean;
  autofocus?: boolean;
  autocomplete?: string;
  step?: number;
  min?: number;
  max?: number;
  maxLength?: number;
  inputRef?: Ref<HTMLInputElement>;
}

/** A labelled input. */
export function Field({ label, value, onInput, onChange, hint, error, type = "text", hideLabel, autofocus, inputRef, ...rest }: Props) {
  const id = useId();
  const notes = [hint !== undefined && `${id}-hint`, error !== undefined && `${id}-error`].filter(Boolean).join(" ");
  // The types of Preact differ for each kind of input, and this one may be any of them.
  const attributes = { ...rest, type: type as "text" };
  return (
    <div class="field">
      <label for={id} class={hideLabel ? "hidden" : undefined}>{label}</label>
      <input
        {...attributes}
        id={id}
        ref={inputRef}
        value={value}
        autoFocus={autofocus}
        spellcheck={false}
        autocapitalize="off"
        aria-invalid={error !== undefined || undefined}
        aria-describedby={notes || undefined}
        onInput={(event) => onInput(event.currentTarget.value)}
        onChange={onChange && ((event) => onChange(event.currentTarget.value))}
      />
      {hint !== undefined && <p id={`${id}-hint`} class="field-hint">{hint}</p>}
      {error !== undefined && <p id={`${id}-error`} class="field-error" role="alert">{error}</p>}
    </div>
  );
}
