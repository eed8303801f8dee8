package wire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Line is the guest's end.
type Line struct {
	mu  sync.Mutex
	in  *bufio.Reader
	out io.Writer
}

// NewLine speaks over a port.
func NewLine(port io.ReadWriter) *Line { return &Line{in: bufio.NewReader(port), out: port} }

// Say says one thing and waits until the host has heard it.
func (l *Line) Say(e Event) (answer string, err error) {
	text, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.out.Write(append(text, '\n')); err != nil {
		return "", err
	}
	answer, err = l.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	return answer[:len(answer)-1], nil
}

// Ask says something that is answered by a Drop.
func (l *Line) Ask(e Event) (d Drop, err error) {
	answer, err := l.Say(e)
	if err != nil {
		return d, err
	}
	err = json.Unmarshal([]byte(answer), &d)
	return d, err
}

// Hear is the host's end: it calls hear with every event and sends back what
// that returns, until the machine is gone. A line that was cut is no line.
func Hear(port io.ReadWriter, hear func(Event) string) error {
	in := bufio.NewReader(port)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil {
			return nil
		}
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			return fmt.Errorf("the guest said %q: %w", text, err)
		}
		// The machine may be gone by now.
		_, _ = io.WriteString(port, hear(e)+"\n")
	}
}
