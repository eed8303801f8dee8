package powercut

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Class is a way in which a power cut went wrong.
type Class string

// The classes.
const (
	// Lost was answered for and is not there.
	Lost Class = "lost"
	// Torn is there in part, or with something else in it, and passes for whole.
	Torn Class = "torn"
	// Back was removed, the removal was answered, and it is there again.
	Back Class = "back"
	// Leftover belongs to nothing that was answered.
	Leftover Class = "leftover"
	// Unrecorded is a layer, whole and with all that it has, that the engine
	// does not list: the power went between the driver's answer, before which
	// the layer was on disk, and the moment that the engine's record of it was.
	// A driver cannot know; it is counted and is no failure of the driver's
	// (docs/decisions/0012).
	Unrecorded Class = "unrecorded"
	// Unlimited is a container's layer that has lost its limit.
	Unlimited Class = "unlimited"
	// Refused is a call that failed although no power was cut.
	Refused Class = "refused"
)

var classes = []Class{Lost, Torn, Back, Leftover, Unrecorded, Unlimited, Refused}

// Finding is one thing that is wrong.
type Finding struct {
	Round int
	Class Class
	What  string // a layer, or a name in the store
	Text  string
}

// String is the finding as a line.
func (f Finding) String() string {
	return fmt.Sprintf("round %d: %s: %s: %s", f.Round, f.Class, f.What, f.Text)
}

// Tally counts what the rounds did and found.
type Tally struct {
	Rounds, Cuts       int
	Recorded, Verified int // layers
	Answers            map[string]int
	Findings           []Finding
	Seconds            float64
}

// Count returns how many findings are of a class.
func (t *Tally) Count(c Class) (n int) {
	for _, f := range t.Findings {
		if f.Class == c {
			n++
		}
	}
	return n
}

// Add counts what other rounds did and found, too.
func (t *Tally) Add(o *Tally) {
	t.Rounds, t.Cuts = t.Rounds+o.Rounds, t.Cuts+o.Cuts
	t.Recorded, t.Verified = t.Recorded+o.Recorded, t.Verified+o.Verified
	if t.Answers == nil {
		t.Answers = make(map[string]int)
	}
	for call, n := range o.Answers {
		t.Answers[call] += n
	}
	t.Findings = append(t.Findings, o.Findings...)
	t.Seconds += o.Seconds
}

// Failures counts the findings that speak against the driver.
func (t *Tally) Failures() int { return len(t.Findings) - t.Count(Unrecorded) }

// String is the summary.
func (t *Tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds, %d cuts; %d layers recorded, %d times one verified;", t.Rounds, t.Cuts, t.Recorded, t.Verified)
	for _, c := range classes {
		fmt.Fprintf(&b, " %d %s,", t.Count(c), c)
	}
	fmt.Fprintf(&b, " %.1f s a round; answered:", t.Seconds/float64(max(t.Rounds, 1)))
	for _, call := range slices.Sorted(maps.Keys(t.Answers)) {
		fmt.Fprintf(&b, " %d %s", t.Answers[call], call)
	}
	return b.String()
}
