package wire

import (
	"io"
	"net"
	"slices"
	"testing"
)

// A line that the machine's end cut short is not heard; what was answered was.
func TestACutLine(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		line := NewLine(theirs)
		for _, id := range []string{"a", "b"} {
			if answer, err := line.Say(Event{Verb: Begin, ID: id}); err != nil || answer != "heard "+id {
				t.Errorf("%q, %v", answer, err)
			}
		}
		_, _ = io.WriteString(theirs, `{"verb":"begin","id":"c"}`)
		theirs.Close()
	}()
	var heard []string
	err := Hear(ours, func(e Event) string {
		heard = append(heard, e.ID)
		return "heard " + e.ID
	})
	if err != nil || !slices.Equal(heard, []string{"a", "b"}) {
		t.Errorf("%q, %v", heard, err)
	}
}
