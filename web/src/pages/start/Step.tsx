import type { ComponentChildren } from "preact";
import { Card } from "../../parts/Card";
import { Tag } from "../../parts/Tag";

/** One step: its number and title, whether it is done, and what there is to do. A step whose turn has not come is only named. */
export function Step({ number, title, done, open, children }: {
  number: number;
  title: string;
  done: boolean;
  open: boolean;
  children?: ComponentChildren;
}) {
  return (
    <li class={`start-step ${open ? "" : "start-later"}`} aria-current={open && !done ? "step" : undefined}>
      <Card title={`${number}. ${title}`} actions={done ? <Tag kind="right">done</Tag> : undefined}>
        {open && children}
      </Card>
    </li>
  );
}
