package snapshot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Policy says at which events snapshots are taken, and how many of each are
// kept. An empty one takes none.
type Policy map[Event]int

// MaxKept bounds the snapshots kept of one event.
const MaxKept = 10000

// ParsePolicy reads a policy such as "stop:3,daily:7". Empty and "off" are
// the policy that takes none.
func ParsePolicy(text string) (Policy, error) {
	policy := Policy{}
	if text = strings.TrimSpace(text); text == "" || text == "off" {
		return policy, nil
	}
	for entry := range strings.SplitSeq(text, ",") {
		event, count, err := parseEntry(strings.TrimSpace(entry))
		if err != nil {
			return nil, err
		}
		if _, twice := policy[event]; twice {
			return nil, fault.New(fault.Invalid, "snapshot policy: %s is named twice", event)
		}
		policy[event] = count
	}
	return policy, nil
}

func parseEntry(entry string) (Event, int, error) {
	name, digits, ok := strings.Cut(entry, ":")
	event := Event(name)
	if !ok || !slices.Contains(events, event) {
		return "", 0, fault.New(fault.Invalid, "snapshot policy: %.80q is no EVENT:COUNT, or the event is unknown: events are %s; off alone takes no snapshots", entry, eventNames())
	}
	count, err := strconv.Atoi(digits)
	if err != nil || count < 1 || count > MaxKept {
		return "", 0, fault.New(fault.Invalid, "snapshot policy: %.80q: how many to keep is a number from 1 to %d", entry, MaxKept)
	}
	return event, count, nil
}

func eventNames() string {
	var names []string
	for _, e := range events {
		names = append(names, string(e))
	}
	return strings.Join(names, ", ")
}

// String is the policy as ParsePolicy reads it.
func (p Policy) String() string {
	var entries []string
	for _, e := range events {
		if n, ok := p[e]; ok {
			entries = append(entries, fmt.Sprintf("%s:%d", e, n))
		}
	}
	if len(entries) == 0 {
		return "off"
	}
	return strings.Join(entries, ",")
}
