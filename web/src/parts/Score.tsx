import { score } from "../format";

/** A score: two digits that line up; red while it is raised. */
export function Score({ value, raised }: { value: number | null | undefined; raised?: boolean }) {
  return <span class={`score ${raised ? "score-raised" : ""}`}>{score(value)}</span>;
}
