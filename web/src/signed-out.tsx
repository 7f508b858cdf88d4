// What is shown to a browser that is not signed in.

import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "./api";
import { Button } from "./parts/Button";
import { Field } from "./parts/Field";
import { Problem } from "./parts/Problem";
import { asApiError } from "./request";
import { signIn } from "./session";

export function SignedOut({ hasToken, error }: { hasToken: boolean; error?: ApiError }) {
  useEffect(() => {
    document.title = "Sign in – stakeout";
  }, []);
  return (
    <section class="signed-out">
      <h1>Sign in</h1>
      {error && <Problem error={error} />}
      <p>Run this command on the machine of the service, and open the link that it prints. The link works once.</p>
      <pre tabIndex={0}><code>stakeout console</code></pre>
      {hasToken && <TokenForm />}
    </section>
  );
}

/** Signs in with `listen.token` or `listen.view_token`. */
function TokenForm() {
  const [token, setToken] = useState("");
  const [error, setError] = useState<ApiError>();
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(token.trim());
    } catch (thrown) {
      setError(asApiError(thrown));
      setBusy(false);
    }
  };
  return (
    <form class="stack" onSubmit={submit}>
      <p>Or type the token of the configuration (<code>listen.token</code>):</p>
      <Field
        label="Token"
        type="password"
        autocomplete="current-password"
        value={token}
        onInput={setToken}
        error={error && error.message}
      />
      <Button type="submit" kind="primary" busy={isBusy} disabled={token.trim() === ""}>Sign in</Button>
    </form>
  );
}
