package plugin

import (
	"sync"

	"github.com/sirupsen/logrus"
)

// sharedDriver is an open Driver with a count of its users: each call at work, and currentDriver
// while it is current. The last user closes the Driver.
type sharedDriver struct {
	driver Driver
	log    logrus.FieldLogger

	mu     sync.Mutex
	users  int
	closed chan struct{} // closed after the Driver is
}

func newSharedDriver(d Driver, log logrus.FieldLogger) *sharedDriver {
	return &sharedDriver{driver: d, log: log, users: 1, closed: make(chan struct{})}
}

func (s *sharedDriver) add() {
	s.mu.Lock()
	s.users++
	s.mu.Unlock()
}

func (s *sharedDriver) release() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if !last {
		return
	}
	defer close(s.closed)
	if err := s.driver.Close(); err != nil {
		s.log.WithError(err).Error("closing the driver failed")
	}
}
