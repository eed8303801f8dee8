package walkthrough

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Follow takes the steps in order, but for those that the test skips. run takes a step and
// returns its output. Follow requires the labels that the document shows, and calls the
// check that the step names with the output.
func Follow(t *testing.T, steps []Match, run func(*testing.T, Match) string, checks map[string]func(*testing.T, string)) {
	t.Helper()
	for _, step := range steps {
		if step.Not != "" {
			continue
		}
		out := run(t, step)
		t.Logf("%s, line %d: %s\n%s", step.Document, step.Line, step.Text, out)
		for _, label := range step.Labels() {
			if !strings.Contains(out, label+":") {
				t.Errorf("%s shows %q, which the command does not print", step.Document, label)
			}
		}
		if step.Sees == "" {
			continue
		}
		check, ok := checks[step.Sees]
		if !ok {
			t.Fatalf("there is no check called %q", step.Sees)
		}
		check(t, out)
	}
}

// Run runs a step's command and returns its output. A step that asks gets a terminal, and
// the answer. Run fails unless the command ends as expected.
func (m Match) Run(cmd *exec.Cmd) (string, error) {
	run := cmd.CombinedOutput
	if m.Asks {
		run = func() ([]byte, error) { return runOnTerminal(cmd, "y\n") }
	}
	raw, err := run()
	out := string(raw)
	if (err != nil) != (m.Fails != "") || !strings.Contains(out, m.Fails) {
		return "", fmt.Errorf("%s, line %d: %s: %v\n%s", m.Document, m.Line, m.Text, err, out)
	}
	return strings.TrimSpace(out), nil
}
