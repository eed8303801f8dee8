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
		{ActionMigrate, Carrying, nil, ""},
		{ActionMigrate, Switching, reclaimed, ""},
		{ActionMigrate, Configuring, nil, ""},
		{ActionMigrate, Done, nil, "`overlayzfs migrate --undo` goes back"},
		{ActionMigrate, Undoing, nil, "an undo was cut short: `overlayzfs migrate --undo` goes on with it"},
		{ActionMigrate, Finishing, nil, "the end of a migration was cut short: `overlayzfs migrate --finish` goes on with it"},
		{ActionUndo, Carrying, nil, ""},
		{ActionUndo, Carrying, reclaimed, "`overlayzfs migrate --back` afterwards"},
		{ActionUndo, Done, nil, ""},
		{ActionUndo, Undoing, nil, ""},
		{ActionUndo, Finishing, nil, "`overlayzfs migrate --finish` goes on with that"},
		{ActionFinish, Carrying, nil, "`overlayzfs migrate --from vfs --driver overlayzfs` goes on"},
		{ActionFinish, Undoing, nil, "an undo was cut short: `overlayzfs migrate --undo` goes on with it"},
		{ActionFinish, Done, reclaimed, ""},
		{ActionFinish, Finishing, reclaimed, ""},
	} {
		j := &Job{From: "vfs", To: "overlayzfs", Phase: tt.phase, Reclaimed: tt.reclaimed}
		err := j.checkAction(tt.action)
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasSuffix(fault.Text(err), tt.says) {
			t.Errorf("%q in phase %s: %v", tt.action, tt.phase, err)
		}
	}
}
