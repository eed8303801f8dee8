package ctxlock

import (
	"context"
	"fmt"
	"sync"
)

// Keys has one lock for each key. Its zero value is ready. It keeps nothing for a key that
// nobody holds or waits for.
type Keys struct {
	mu   sync.Mutex
	keys map[string]*lock
}

type lock struct {
	turn  chan struct{} // holds one value while the lock is held
	users int           // holders and waiters
}

// Lock takes the lock of a key and returns the function that releases it. It fails when ctx
// ends first.
func (l *Keys) Lock(ctx context.Context, key string) (release func(), err error) {
	k := l.join(key)
	select {
	case k.turn <- struct{}{}:
		return func() {
			<-k.turn
			l.leave(key, k)
		}, nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, fmt.Errorf("wait for another call on %s: %w", key, context.Cause(ctx))
	}
}

func (l *Keys) join(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = make(map[string]*lock)
	}
	k := l.keys[key]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		l.keys[key] = k
	}
	k.users++
	return k
}

func (l *Keys) leave(key string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.keys, key)
	}
}
