package snapshot

import (
	"context"
	"sync"
	"time"
)

// Scheduler takes snapshots at events and enforces the retention of its policy. It is safe for
// concurrent use. A nil Scheduler does nothing.
type Scheduler struct {
	config  Config
	worker  worker
	created time.Time // of the layers dataset

	busy    chan struct{} // has a token while a snapshot is being taken
	wake    chan struct{} // has a token when there is new work
	closing chan struct{} // closed by Close
	closed  chan struct{} // closed at the end of the goroutine
	ctx     context.Context
	cancel  context.CancelFunc
	once    sync.Once

	mu            sync.Mutex
	pending       pendingEvents
	isCounted     bool // counts and latest are known
	counts        map[Event]int
	latest        map[Event]time.Time
	takeFailures  failureLog
	pruneFailures failureLog
}

// worker carries out the decisions of a Scheduler.
type worker interface {
	take(ctx context.Context, e Event, at time.Time) (string, error)
	prune(ctx context.Context, p Policy) (left []Info, pruned bool, err error)
}

// New checks the configuration and starts a Scheduler. For an empty policy it returns nil and
// no error. The caller closes it.
func New(c Config) (*Scheduler, error) {
	if len(c.Policy) == 0 {
		return nil, nil
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	stats, err := c.ZFS.DatasetStats(c.Layers)
	if err != nil {
		return nil, err
	}
	k := newScheduler(c, target{zfs: c.ZFS, layers: c.Layers, records: c.Records}, stats.Created())
	go k.run()
	return k, nil
}

func newScheduler(c Config, w worker, born time.Time) *Scheduler {
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Scheduler{
		config:  c,
		worker:  w,
		created: born,
		busy:    make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		closed:  make(chan struct{}),
		pending: pendingEvents{},
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Notify reports an event. It returns at once, even when the pool does not answer, and the
// snapshot is taken in the background. A series of Committed or Removed gives one snapshot:
// QuietPeriod after the last event, or MaxDelay after the first. Events that the policy does
// not name are ignored.
func (s *Scheduler) Notify(e Event) {
	if s == nil || s.config.Policy[e] == 0 {
		return
	}
	s.mu.Lock()
	s.pending.add(e, time.Now())
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Take takes a snapshot at once if the policy names the event. It returns when the snapshot is
// taken and retention is done, or when ctx ends. Then the kernel's work goes on in the
// background. Start and Stop use it. The error is logged already, and must fail no call.
func (s *Scheduler) Take(ctx context.Context, e Event) error {
	if s == nil || s.config.Policy[e] == 0 {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.takeAndPrune(ctx, e) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes the snapshots that Notify has announced, and ends the Scheduler. It returns when
// that is done or ctx ends. Closing again is no error.
func (s *Scheduler) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	defer s.cancel()
	s.once.Do(func() { close(s.closing) })
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkInterval is how often the wall clock is compared with the intervals, and how soon a
// failed snapshot of an interval is tried again. It is short because a clock can be set, and a
// machine can sleep.
const checkInterval = time.Minute

// run is the Scheduler's goroutine.
func (s *Scheduler) run() {
	defer close(s.closed)
	for goOn := true; goOn; {
		s.takeAll(s.overdueIntervals())
		nextLook := time.Now().Add(checkInterval)
		for goOn && time.Now().Before(nextLook) {
			s.takeAll(s.dueEvents())
			goOn = s.waitForWork(nextLook)
		}
	}
	s.takeAll(s.allPending())
}

func (s *Scheduler) takeAll(due []Event) {
	for _, e := range due {
		_ = s.takeAndPrune(s.ctx, e) // it has logged the error, and Status shows it
	}
}

// waitForWork waits until there may be work. It returns false at the end.
func (s *Scheduler) waitForWork(nextLook time.Time) bool {
	s.mu.Lock()
	wait := s.pending.nextWait(time.Now(), time.Until(nextLook))
	s.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.closing:
		return false
	case <-s.wake:
	case <-timer.C:
	}
	return true
}

// dueEvents returns the events whose series have ended.
func (s *Scheduler) dueEvents() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending.dueEvents(time.Now())
}

// allPending returns the events that wait, whether their series have ended or not.
func (s *Scheduler) allPending() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Event
	for _, e := range policyEvents {
		if _, ok := s.pending[e]; ok {
			all = append(all, e)
		}
	}
	return all
}

// overdueIntervals returns the intervals whose newest snapshot is too old. It returns none
// until the snapshots have been listed.
func (s *Scheduler) overdueIntervals() []Event {
	if !s.ensureCounted() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var over []Event
	for _, e := range intervals {
		if s.config.Policy[e] > 0 && isDue(s.config.Now(), s.latest[e], s.created, e.interval()) {
			over = append(over, e)
		}
	}
	return over
}

// ensureCounted lists the snapshots, unless they were listed before.
func (s *Scheduler) ensureCounted() bool {
	s.mu.Lock()
	counted := s.isCounted
	s.mu.Unlock()
	if counted {
		return true
	}
	infos, _, err := s.worker.prune(s.ctx, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pruneFailures.record("listing snapshots", "", s.config.Now(), err)
	if err == nil {
		s.setCounts(infos)
	}
	return err == nil
}

// setCounts stores the numbers and the newest times of the snapshots.
func (s *Scheduler) setCounts(infos []Info) {
	s.isCounted, s.counts, s.latest = true, map[Event]int{}, map[Event]time.Time{}
	for _, info := range infos {
		s.counts[info.Event]++
	}
	for _, e := range intervals {
		if info, ok := newest(infos, e); ok {
			s.latest[e] = info.Time
		}
	}
}

// takeAndPrune takes a snapshot and enforces retention. Calls run one at a time.
func (s *Scheduler) takeAndPrune(ctx context.Context, e Event) error {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.busy }()
	waited := s.removePending(e)
	at := s.config.Now()
	_, err := s.worker.take(ctx, e, at)
	s.mu.Lock()
	if err != nil {
		s.pending.putBack(waited, e)
	}
	s.takeFailures.record("taking a snapshot", e, at, err)
	if err == nil && s.isCounted {
		s.counts[e]++
		s.latest[e] = at
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.prune(ctx, e, at)
}

// removePending removes and returns the events that a snapshot of e covers. Later events need
// another snapshot. A snapshot of Stop covers all events. It should stay the newest, so that a
// rollback to it loses no other snapshot.
func (s *Scheduler) removePending(e Event) pendingEvents {
	s.mu.Lock()
	defer s.mu.Unlock()
	covered := pendingEvents{}
	for waiting, row := range s.pending {
		if waiting == e || e == Stop {
			covered[waiting] = row
			delete(s.pending, waiting)
		}
	}
	return covered
}

// prune destroys the snapshots that the policy does not keep.
func (s *Scheduler) prune(ctx context.Context, e Event, at time.Time) error {
	left, pruned, err := s.worker.prune(ctx, s.config.Policy)
	s.mu.Lock()
	s.pruneFailures.record("retention of snapshots", e, at, err)
	if err == nil {
		s.setCounts(left)
	}
	s.mu.Unlock()
	if pruned && s.config.AfterPrune != nil {
		s.config.AfterPrune()
	}
	return err
}
