import { counted } from "../format";
import { retry, unstored } from "../marks";
import { Problem } from "./Problem";

/** Verdicts that could not be stored. For a page that uses `useMarks`. */
export function Unstored() {
  const { failed } = unstored();
  if (failed.length === 0) return null;
  return (
    <Problem error={failed[0]} onRetry={retry}>
      <p>{counted(failed.length, "verdict is", "verdicts are")} not stored.</p>
    </Problem>
  );
}
