package overlayzfs

import "sync"

// quiet are the layers of which a Diff records nothing new: a container's, whose
// diff becomes another layer, and what ApplyDiff or a build step's last Put made
// durable.
// What is not known here is waited for, so that a new process may begin with
// none.
type quiet struct {
	mu  sync.Mutex
	ids map[string]struct{}
}

func (q *quiet) add(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ids == nil {
		q.ids = make(map[string]struct{})
	}
	q.ids[id] = struct{}{}
}

func (q *quiet) remove(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.ids, id)
}

func (q *quiet) has(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.ids[id]
	return ok
}
