import { useState } from "preact/hooks";
import { bytes } from "../../format";
import { Button } from "../../parts/Button";
import { Empty } from "../../parts/Empty";
import { Problem } from "../../parts/Problem";
import { Sheet } from "../../parts/Sheet";
import { Time } from "../../parts/Time";
import { useRequest } from "../../request";
import { version, versions } from "./api";
import { Comparison } from "./Comparison";

/** Earlier versions of the file, and one of them compared with the text of the editor. */
export function Versions({ text, mayReturn, onReturn, onClose }: {
  text: string;
  mayReturn: boolean;
  onReturn: (text: string) => void;
  onClose: () => void;
}) {
  const [id, setId] = useState<string>();
  const list = useRequest(versions, []);
  const chosen = useRequest(async (signal) => (id === undefined ? undefined : version(id, signal)), [id]);
  const shown = chosen.answer?.id === id ? chosen.answer : undefined;
  const found = list.answer?.versions;
  const actions = shown && mayReturn && (
    <Button kind="primary" onClick={() => onReturn(shown.text)}>Return to this version</Button>
  );
  return (
    <Sheet title="Earlier versions" onClose={onClose} actions={actions || undefined}>
      {list.error && <Problem error={list.error} onRetry={list.reload} />}
      {found?.length === 0 && <Empty title="There are none yet."><p>A save here keeps the text that it replaces.</p></Empty>}
      <div class="stack">
        {found && found.length > 0 && (
          <ul class="versions" aria-label="Versions">
            {found.map((one) => (
              <li key={one.id}>
                <button type="button" class="version" aria-pressed={one.id === id} onClick={() => setId(one.id)}>
                  <Time prefix="until " at={one.replaced_at} /> <span class="muted">{bytes(one.size)}</span>
                </button>
              </li>
            ))}
          </ul>
        )}
        {chosen.error && <Problem error={chosen.error} onRetry={chosen.reload} />}
        {shown && (
          <>
            <h3>From this version to the text in the editor</h3>
            <Comparison before={shown.text} after={text} label="The lines that differ" />
          </>
        )}
      </div>
    </Sheet>
  );
}
