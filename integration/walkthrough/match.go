package walkthrough

import (
	"fmt"
	"strings"
)

// Document is a document's text, and its name for errors.
type Document struct{ Name, Text string }

// Expected is what a test expects of a step.
type Expected struct {
	Begins string // its first words
	Sees   string // the check after it: a key of Follow's checks
	Fails  string // the step has to fail, with this text
	Asks   bool   // the command asks; the answer is yes
	Not    string // why the test skips it
}

// Match is a step of a document and what is expected of it.
type Match struct {
	Step
	Expected
	Document string // its name
}

// MatchSteps returns the steps of the documents in order. It fails unless they are exactly
// the expected ones.
func MatchSteps(documents []Document, expected []Expected) (all []Match, err error) {
	for _, document := range documents {
		steps, err := Read(document.Text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", document.Name, err)
		}
		for _, step := range steps {
			if len(all) == len(expected) {
				return nil, fmt.Errorf("%s, line %d: the test's list has no step %q: add it", document.Name, step.Line, step.Text)
			}
			want := expected[len(all)]
			if !want.matches(step.Text) {
				return nil, fmt.Errorf("%s, line %d: the step is %q, want %q of the test's list", document.Name, step.Line, step.Text, want.Begins)
			}
			all = append(all, Match{step, want, document.Name})
		}
	}
	if n := len(all); n < len(expected) {
		return nil, fmt.Errorf("no document has the step %q of the test's list", expected[n].Begins)
	}
	return all, nil
}

// matches reports whether a text begins with the expected words.
func (e Expected) matches(text string) bool {
	rest, ok := strings.CutPrefix(text, e.Begins)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \n:"))
}
