/** Signing in: a pasted API token, which is checked and kept in this tab. */

import { useState } from "preact/hooks";
import { ApiError, call } from "../api/client";
import type { Principal, Problem } from "../api/work_types";
import { session, signIn } from "../session";
import { useStore } from "../store";
import { ProblemView } from "../ui/panel";

export function SignIn() {
  const { problem: before } = useStore(session);
  const [token, setToken] = useState("");
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(before);
  const submit = async () => {
    setAsking(true);
    setProblem(null);
    try {
      const text = token.trim();
      signIn(text, await call<Principal>("/v1/login", { method: "POST", body: { token: text }, token: "" }));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setProblem(error.problem);
      setAsking(false);
    }
  };
  return (
    <main class="sign-in" id="main">
      <h1>DWCP console</h1>
      <form
        class="panel form"
        onSubmit={(event) => {
          event.preventDefault();
          if (token.trim() !== "" && !asking) void submit();
        }}
      >
        <label class="field">
          <span>API token</span>
          <input
            type="password"
            value={token}
            autocomplete="off"
            spellcheck={false}
            required
            autofocus
            onInput={(event) => setToken(event.currentTarget.value)}
          />
          <small>
            Kept in this tab until you close it or sign out. An administrator makes one with{" "}
            <code>dwcp-cli security token create --user NAME --role viewer</code>
          </small>
        </label>
        {problem && <ProblemView problem={problem} />}
        <div class="buttons">
          <button type="submit" class="primary" aria-disabled={asking}>
            {asking ? "Asking…" : "Sign in"}
          </button>
        </div>
      </form>
    </main>
  );
}
