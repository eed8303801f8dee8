package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/overlayzfs/overlayzfs/internal/unixsock"
)

// listen returns the socket that systemd made, or makes it. With systemd's,
// callers wait while the daemon is started anew instead of being refused.
func listen(path string) (net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("the socket that systemd passes: %w", err)
	}
	switch len(passed) {
	case 0:
		return unixsock.Listen(path)
	case 1:
		return passed[0], refuseNil(passed[0])
	}
	errs := []error{fmt.Errorf("systemd passes %d sockets, where one is served; see overlayzfs-snapshotter.socket", len(passed))}
	for _, l := range passed {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return nil, errors.Join(errs...)
}

// refuseNil is for what systemd passes that is no listening socket.
func refuseNil(l net.Listener) error {
	if l == nil {
		return errors.New("what systemd passes is no listening socket; see overlayzfs-snapshotter.socket")
	}
	return nil
}
