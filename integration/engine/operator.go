package engine

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// OperatorPath is the path of the operator's command in the guest.
const OperatorPath = "/lab/job/overlayzfs"

// Operator runs the operator's command on the snapshotter's store, with these flags of the
// store, and returns its output and exit code.
func (c *Containerd) Operator(t testing.TB, dataRoot string, args ...string) (out string, code int) {
	t.Helper()
	return RunOperator(t, append(args, "--dataset", c.Dataset, "--containerd-root", c.Root, "--root", dataRoot)...)
}

// RunOperator runs the operator's command, and returns its output and exit code.
func RunOperator(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	raw, err := exec.Command(OperatorPath, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	t.Logf("overlayzfs %s: exit code %d\n%s", strings.Join(args, " "), code, raw)
	return strings.TrimSpace(string(raw)), code
}

// RequireOperator fails the test unless the operator's command ends with code 0, and its
// output has all the words.
func (c *Containerd) RequireOperator(t testing.TB, dataRoot string, args []string, words ...string) {
	t.Helper()
	out, code := c.Operator(t, dataRoot, args...)
	if code != 0 {
		t.Errorf("overlayzfs %s ends with %d", strings.Join(args, " "), code)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			t.Errorf("overlayzfs %s does not say %q", strings.Join(args, " "), word)
		}
	}
}

// OperatorLayers returns how many layers of each kind the operator's command lists.
func (c *Containerd) OperatorLayers(t testing.TB, dataRoot string) map[string]int {
	t.Helper()
	out, code := c.Operator(t, dataRoot, "ls", "--quick", "--json")
	var inventory struct {
		Layers   []struct{ Kind string }
		Missing  []any
		Gaps     []any
		Warnings []string
	}
	if err := json.Unmarshal([]byte(out), &inventory); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if len(inventory.Missing)+len(inventory.Gaps)+len(inventory.Warnings) > 0 {
		t.Errorf("records and layers do not fit: %+v", inventory)
	}
	kinds := map[string]int{}
	for _, l := range inventory.Layers {
		kinds[l.Kind]++
	}
	return kinds
}
