package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
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
	in := bufio.NewScanner(port)
	in.Buffer(nil, longest)
	in.Split(wholeLines)
	for in.Scan() {
		var e Event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return fmt.Errorf("the guest said %q: %w", in.Bytes(), err)
		}
		// The machine may be gone by now.
		_, _ = io.WriteString(port, hear(e)+"\n")
	}
	if errors.Is(in.Err(), bufio.ErrTooLong) {
		return in.Err()
	}
	return nil
}

// longest is the size of the longest line: a store's names.
const longest = 4 << 20

// wholeLines splits off what ends in a newline, and nothing else.
func wholeLines(data []byte, _ bool) (advance int, line []byte, err error) {
	if at := bytes.IndexByte(data, '\n'); at >= 0 {
		return at + 1, data[:at], nil
	}
	return 0, nil, nil
}
