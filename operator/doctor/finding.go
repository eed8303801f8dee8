package doctor

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Severity is how bad a finding is.
type Severity int

// The severities, the worst last.
const (
	OK      Severity = iota // as it should be
	Note                    // good to know
	Warning                 // works, at a price or a risk
	Broken                  // does not work, or will lose data
)

var severities = []string{"ok", "note", "warning", "broken"}

// String returns the severity as a word.
func (s Severity) String() string { return severities[s] }

// MarshalJSON writes the word.
func (s Severity) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Finding is the result of one check.
type Finding struct {
	Check    string   `json:"check"` // what was checked
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	Reason   string   `json:"reason,omitempty"` // why it matters
	Remedy   string   `json:"remedy,omitempty"` // commands to copy, or what to do
}

// Examine returns the findings for facts, the worst first.
func Examine(f Facts) []Finding {
	var all []Finding
	for _, check := range []func(Facts) []Finding{
		checkKernel, checkModule, checkDevice, checkDefects, checkPool, checkProperties, checkProbe, checkMemory, checkTrim, checkDaemonJSON, checkPlugin, checkEngine, checkContainerd, checkUnits, checkMigration, checkStore,
	} {
		all = append(all, check(f)...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return all
}

// Worst returns the worst severity.
func Worst(findings []Finding) (worst Severity) {
	for _, f := range findings {
		worst = max(worst, f.Severity)
	}
	return worst
}

// Accept makes notes of the warnings of some checks, which the operator knows and leaves as
// they are.
func Accept(findings []Finding, checks []string) []Finding {
	for i := range findings {
		if findings[i].Severity == Warning && slices.Contains(checks, findings[i].Check) {
			findings[i].Severity = Note
		}
	}
	return findings
}

// okFinding returns a finding without a fault.
func okFinding(check, found string) []Finding { return []Finding{{Check: check, Found: found}} }
