package mount

import (
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A listener that reads what is no event ends. It says so from then on, and watches nothing.
func TestTmpfileListenerSaysWhyItHasEnded(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[1])
	waking, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(descriptors{lock: new(sync.RWMutex), group: pipe[0], waking: waking})
	go l.listen()
	if err := l.Err(); err != nil {
		t.Errorf("a listener that waits for events: %v", err)
	}
	if _, err := unix.Write(pipe[1], []byte("no event")); err != nil {
		t.Fatal(err)
	}
	<-l.done
	const want = "the fanotify listener has ended: fanotify event of 8 bytes"
	for what, err := range map[string]error{"Err": l.Err(), "Watch": l.Watch(t.TempDir())} {
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestNoTmpfileListenerHasNotEnded(t *testing.T) {
	var l *TmpfileListener
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}
