import type { ComponentChildren } from "preact";

interface Props {
  children: ComponentChildren;
  /** Whether this filter is on. */
  selected?: boolean;
  onClick?: () => void;
  /** An address: the chip is a link then. */
  href?: string;
  /** Adds a cross that removes the chip; `removeLabel` is its name for screen readers. */
  onRemove?: () => void;
  removeLabel?: string;
  label?: string;
}

/** A small rounded switch, link or text: a filter, a range of time, one of several words. */
export function Chip({ children, selected, onClick, href, onRemove, removeLabel = "Remove", label }: Props) {
  const name = `chip ${selected ? "chip-selected" : ""}`;
  if (href !== undefined) {
    return <a class={name} href={href} aria-current={selected ? "true" : undefined} aria-label={label}>{children}</a>;
  }
  if (onClick) {
    return <button type="button" class={name} aria-pressed={selected ?? false} aria-label={label} onClick={onClick}>{children}</button>;
  }
  return (
    <span class={name}>
      <span class="chip-text">{children}</span>
      {onRemove && <button type="button" class="chip-remove" aria-label={removeLabel} onClick={onRemove}>✕</button>}
    </span>
  );
}

/** Chips of which one is selected, such as the ranges of time. */
export function Chips<Value extends string>({ label, value, options, onChange }: {
  label: string;
  value: Value;
  options: readonly { value: Value; text: string }[];
  onChange: (value: Value) => void;
}) {
  return (
    <div class="chips" role="group" aria-label={label}>
      {options.map((option) => (
        <Chip key={option.value} selected={option.value === value} onClick={() => onChange(option.value)}>{option.text}</Chip>
      ))}
    </div>
  );
}
