package snapshot

import (
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// trouble remembers what failed since the last success, to log each cause
// once and to show the latest.
type trouble struct {
	seen map[string]bool
	last string // empty: none
}

// note takes the outcome of doing something about an event.
func (t *trouble) note(what string, e Event, at time.Time, err error) {
	log := logrus.WithField("event", string(e))
	if err == nil {
		if t.last != "" {
			log.Info(what + " works again")
		}
		*t = trouble{}
		return
	}
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	if cause := causeOf(err); !t.seen[cause] {
		t.seen[cause] = true
		log.WithError(err).Warn(what + " failed; layers are not affected, and this cause is not logged again until it works")
	}
	t.last = what + " failed at " + at.UTC().Format(time.RFC3339) + " (" + string(e) + "): " + fault.Text(err)
}

// causeOf is what two failures have in common that are not worth two lines.
func causeOf(err error) string {
	if class := fault.ClassOf(err); class != "" {
		return string(class)
	}
	return err.Error()
}
