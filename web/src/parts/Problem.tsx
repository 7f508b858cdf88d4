import type { ComponentChildren } from "preact";
import type { ApiError } from "../api";
import { sentence } from "../format";
import { Button } from "./Button";

/** A problem, in amber: what is wrong, where, and what to do. */
export function Problem({ error, children, onRetry }: { error?: ApiError; children?: ComponentChildren; onRetry?: () => void }) {
  return (
    <div class="problem" role="alert">
      <div>
        {error && (
          <p>
            {sentence(error.where ? `${error.where}: ${error.problem}` : error.problem)}
            {error.remedy && <> {sentence(error.remedy)}</>}
          </p>
        )}
        {children}
      </div>
      {onRetry && <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}
