package snapshot

import (
	"fmt"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Status returns the lines that `docker info` shows: one for the snapshots, and one for each
// last failure. It asks the pool nothing.
func (s *Scheduler) Status() [][2]string {
	if s == nil {
		return [][2]string{{"Snapshots", "off"}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := [][2]string{{"Snapshots", s.summary()}}
	for _, t := range []failureLog{s.takeFailures, s.pruneFailures} {
		if t.last != "" {
			lines = append(lines, [2]string{"Snapshots Failure", t.last})
		}
	}
	return lines
}

// summary returns a text such as "7 (stop 3/3, daily 4/7)": the number of snapshots, and for
// each event of the policy the number and the limit.
func (s *Scheduler) summary() string {
	if !s.isCounted {
		return "not counted yet (" + s.config.Policy.String() + ")"
	}
	total := 0
	for _, n := range s.counts {
		total += n
	}
	var parts []string
	for _, e := range policyEvents {
		if keep, ok := s.config.Policy[e]; ok {
			parts = append(parts, fmt.Sprintf("%s %d/%d", e, s.counts[e], keep))
		}
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}

// failureLog remembers the failures since the last success. It logs each cause once and keeps
// the latest failure for Status.
type failureLog struct {
	seen map[string]bool
	last string // the last failure; empty without one
}

// record stores the outcome of an action for an event.
func (t *failureLog) record(what string, e Event, at time.Time, err error) {
	log := logrus.WithField("event", string(e))
	if err == nil {
		if t.last != "" {
			log.Info(what + " works again")
		}
		*t = failureLog{}
		return
	}
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	if cause := failureCause(err); !t.seen[cause] {
		t.seen[cause] = true
		log.WithError(err).Warn(what + " failed; layers are not affected, and this cause is not logged again before a success")
	}
	t.last = what + " failed at " + at.UTC().Format(time.RFC3339) + " (" + string(e) + "): " + fault.Text(err)
}

// failureCause returns what two failures that need only one log line have in common.
func failureCause(err error) string {
	if class := fault.ClassOf(err); class != "" {
		return string(class)
	}
	return err.Error()
}
