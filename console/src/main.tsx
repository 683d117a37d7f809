/** Where the console begins. */

import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/parts.css";
import "./styles/views.css";
import { SignIn } from "./pages/sign_in";
import { session } from "./session";
import { useStore } from "./store";
import { Shell } from "./ui/shell";
import { startTheme } from "./ui/theme";

function Console() {
  const { token } = useStore(session);
  return token === null ? <SignIn /> : <Shell />;
}

startTheme();
render(<Console />, document.body);
