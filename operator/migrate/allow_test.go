package migrate

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestWhatAPhaseAllows: what it does not, is refused with the command that is to be
// run instead, and with no other remedy.
func TestWhatAPhaseAllows(t *testing.T) {
	reclaimed := []string{"layer"}
	for _, tt := range []struct {
		action    Action
		phase     Phase
		reclaimed []string
		says      string // empty: it is allowed
	}{
		{Forward, Carrying, nil, ""},
		{Forward, Switching, reclaimed, ""},
		{Forward, Configuring, nil, ""},
		{Forward, Done, nil, "`overlayzfs migrate --undo` goes back"},
		{Forward, Undoing, nil, "an undo was cut short: `overlayzfs migrate --undo` goes on with it"},
		{Forward, Finishing, nil, "the end of a migration was cut short: `overlayzfs migrate --finish` goes on with it"},
		{Backward, Carrying, nil, ""},
		{Backward, Carrying, reclaimed, "`overlayzfs migrate --back` afterwards"},
		{Backward, Done, nil, ""},
		{Backward, Undoing, nil, ""},
		{Backward, Finishing, nil, "`overlayzfs migrate --finish` goes on with that"},
		{Ending, Carrying, nil, "`overlayzfs migrate --from vfs --driver overlayzfs` goes on"},
		{Ending, Undoing, nil, "an undo was cut short: `overlayzfs migrate --undo` goes on with it"},
		{Ending, Done, reclaimed, ""},
		{Ending, Finishing, reclaimed, ""},
	} {
		j := &Job{From: "vfs", To: "overlayzfs", Phase: tt.phase, Reclaimed: tt.reclaimed}
		err := j.allows(tt.action)
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasSuffix(fault.Text(err), tt.says) {
			t.Errorf("%q in phase %s: %v", tt.action, tt.phase, err)
		}
	}
}
