import type { ComponentChildren } from "preact";

interface Props {
  children: ComponentChildren;
  /** Its heading. */
  title?: ComponentChildren;
  /** At the right of the heading. */
  actions?: ComponentChildren;
  /** A red border: something is raised. */
  raised?: boolean;
  /** Without inner space, for pictures that reach the border. */
  flush?: boolean;
  /** A name for screen readers, where there is no title. */
  label?: string;
  class?: string;
}

/** A surface with a border. */
export function Card({ children, title, actions, raised, flush, label, class: name = "" }: Props) {
  const classes = `card ${raised ? "card-raised" : ""} ${flush ? "card-flush" : ""} ${name}`;
  return (
    <section class={classes} aria-label={label}>
      {(title !== undefined || actions !== undefined) && (
        <header class="card-head">
          <h2>{title}</h2>
          {actions !== undefined && <div class="card-actions">{actions}</div>}
        </header>
      )}
      {children}
    </section>
  );
}
