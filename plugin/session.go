package plugin

import (
	"sync"

	"github.com/sirupsen/logrus"
)

// session is an open Driver and how many use it: each call at work, and the
// keeper while it is the current one. The last closes it.
type session struct {
	driver Driver
	log    logrus.FieldLogger

	mu    sync.Mutex
	users int
}

func (s *session) add() {
	s.mu.Lock()
	s.users++
	s.mu.Unlock()
}

func (s *session) release() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if !last {
		return
	}
	if err := s.driver.Close(); err != nil {
		s.log.WithError(err).Error("closing the driver failed")
	}
}
