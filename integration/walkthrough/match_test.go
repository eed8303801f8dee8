package walkthrough

import (
	"os/exec"
	"testing"
)

// expectedSteps are the steps of the documents in TestStepsMatchInBothDirections.
var expectedSteps = []Expected{{Begins: "one"}, {Begins: `{"a"`}, {Begins: "two --on"}}

func TestStepsMatchInBothDirections(t *testing.T) {
	first := Document{"first.md", fenced("~~~sh", "one # says why", "~~~", "~~~json", `{"a": 1}`, "~~~")}
	second := Document{"second.md", fenced("~~~sh", "two --on", "~~~")}
	steps, err := MatchSteps([]Document{first, second}, expectedSteps)
	if err != nil {
		t.Fatal(err)
	}
	if last := steps[2]; last.Document != "second.md" || last.Text != "two --on" || last.Begins != "two --on" {
		t.Errorf("the last step is %+v", last)
	}
	for name, changed := range map[string]string{
		"one more":           fenced("~~~sh", "two --on", "three", "~~~"),
		"one that is gone":   "",
		"another one":        fenced("~~~sh", "two --only", "~~~"),
		"one before":         fenced("~~~sh", "zero", "two --on", "~~~"),
		"no end of a block":  fenced("~~~sh", "two --on"),
		"one of other words": fenced("~~~sh", "two", "~~~"),
	} {
		if _, err := MatchSteps([]Document{first, {"second.md", changed}}, expectedSteps); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
}

func TestCommandsHaveToEndAsExpected(t *testing.T) {
	for _, c := range []struct {
		text, fails, want string
		bad               bool
	}{
		{text: "echo said", want: "said"},
		{text: "echo quota >&2; false", fails: "quota", want: "quota"},
		{text: "echo said; false", bad: true},
		{text: "echo other; false", fails: "quota", bad: true},
		{text: "echo quota", fails: "quota", bad: true},
	} {
		m := Match{Step: Step{Text: c.text}, Expected: Expected{Fails: c.fails}}
		out, err := m.Run(exec.Command("sh", "-c", c.text))
		if (err != nil) != c.bad || out != c.want {
			t.Errorf("%s: %q, %v", c.text, out, err)
		}
	}
}

func TestAStepThatAsksHasATerminal(t *testing.T) {
	m := Match{Expected: Expected{Asks: true}}
	out, err := m.Run(exec.Command("sh", "-c", `test -t 0 && test -t 1 && read answer </dev/tty && echo "it is $answer"`))
	if want := "y\nit is y"; err != nil || out != want { // the terminal shows what is typed
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	if out, err := m.Run(exec.Command("sh", "-c", "exit 3")); err == nil {
		t.Errorf("a failure is no error: %q", out)
	}
}

func TestFollowSkipsAndChecks(t *testing.T) {
	steps := []Match{
		{Expected: Expected{Begins: "one", Not: "boots the lab"}},
		{Expected: Expected{Begins: "two", Sees: "its output"}},
		{Expected: Expected{Begins: "three"}},
	}
	var did string
	run := func(_ *testing.T, m Match) string { did += m.Begins + " "; return "of " + m.Begins }
	Follow(t, steps, run, map[string]func(*testing.T, string){"its output": func(_ *testing.T, out string) { did += out + " " }})
	if want := "two of two three "; did != want {
		t.Errorf("followed %q, want %q", did, want)
	}
}
