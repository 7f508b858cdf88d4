import { useId } from "preact/hooks";

interface Props<Value extends string> {
  label: string;
  value: Value;
  options: readonly { value: Value; text: string }[];
  onChange: (value: Value) => void;
  /** The label is only for screen readers. */
  hideLabel?: boolean;
  disabled?: boolean;
}

/** A labelled choice, drawn as a chip. */
export function Select<Value extends string>({ label, value, options, onChange, hideLabel, disabled }: Props<Value>) {
  const id = useId();
  return (
    <span class="select">
      <label for={id} class={hideLabel ? "hidden" : undefined}>{label}</label>
      <select id={id} value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value as Value)}>
        {options.map((option) => <option key={option.value} value={option.value}>{option.text}</option>)}
      </select>
    </span>
  );
}
