package quota

import (
	"errors"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// A dataset stays busy while anything, in any mount name space, still uses it:
// a file that was open when the container ended, a name space that is just
// being made. That passes within moments or with its user.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = time.Minute
)

// again discards key in the background until it works or the Limiter is closed;
// then the next start finds the record.
func (l *Limiter) again(key string, why error) {
	log := logrus.WithField("key", key)
	log.WithError(why).Info("what a layer had of its own is still in use; it goes when its last user does")
	l.jobs.Go(func() {
		for wait := firstWait; ; wait = min(2*wait, lastWait) {
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(wait):
			}
			err := l.discard(l.ctx, key)
			if errors.Is(err, fault.Busy) {
				continue
			}
			if err != nil {
				log.WithError(err).Warn("left for the next start")
			}
			return
		}
	})
}
