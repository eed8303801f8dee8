package overlayzfs

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/snapshot"
)

// TestInterruptedCallsNameTheirRemedy makes sure that each error names its own remedy, and no
// other's.
func TestInterruptedCallsNameTheirRemedy(t *testing.T) {
	const pull, again, rollback = "pull, load or build", "make it again", "`overlayzfs rollback tank/a@s`"
	for _, tt := range []struct {
		err  error
		says string
	}{
		{explainInterrupted(fs.ErrExist, cutDiff), pull},
		{explainInterrupted(fs.ErrExist, cutFilling), again},
		{snapshot.UnfinishedError("tank/a", "s"), rollback},
	} {
		text := fault.Text(fault.AddContext(fault.Op{Name: "x", Layer: "a", Dataset: "tank/a"}, tt.err))
		if !errors.Is(tt.err, fault.Interrupted) {
			t.Errorf("%q is %q", text, fault.ClassOf(tt.err))
		}
		for _, remedy := range []string{pull, again, rollback} {
			if strings.Contains(text, remedy) != (remedy == tt.says) {
				t.Errorf("%q, of %q", text, remedy)
			}
		}
	}
	if err := explainInterrupted(fs.ErrPermission, cutDiff); err != fs.ErrPermission {
		t.Errorf("another error became %v", err)
	}
}
