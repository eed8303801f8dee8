package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// call is one request on its way through the server.
type call struct {
	server *Server
	name   string // on the wire
	op     string // in logs and errors
	layer  string // known once the request is read
	ctx    context.Context
	w      http.ResponseWriter
	r      *http.Request
	ended  func(error) // see Server.Observe

	started bool // part of a Diff is sent: a failure now has to break the connection
}

// callFunc does the work of one call and, on success, sends the answer.
type callFunc func(c *call) error

// handle returns the handler of a call. Around run it does what every call needs: count
// it, cancel it at a stop, turn a panic into an error, answer the engine, log.
func (s *Server) handle(name, op string, run callFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(s.inFlight.ctx, func() { cancel(errStopping) })()
		c := &call{server: s, name: name, op: op, ctx: ctx, w: w, r: r, ended: func(error) {}}
		if s.Observe != nil {
			c.ended = s.Observe(op)
		}
		if !s.inFlight.begin() {
			c.finish(errStopping, began)
			return
		}
		defer s.inFlight.end()
		c.finish(c.runGuarded(run), began)
	}
}

var errStopping = errors.New("the plugin is stopping; repeat the command when it runs again")

// runGuarded runs the call and turns a panic into its error.
func (c *call) runGuarded(run callFunc) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			c.ended(err)
			panic(v)
		}
		c.logger().WithField("stack", string(debug.Stack())).Errorf("%s panicked: %v", c.name, v)
		err = fmt.Errorf("%s panicked: %v; the plugin's log has the stack", c.name, v)
	}()
	return run(c)
}

// finish tells the engine and the log how the call ended.
func (c *call) finish(err error, began time.Time) {
	log := c.logger().WithField("duration", time.Since(began))
	if err == nil {
		c.ended(nil)
		log.Debug("done")
		return
	}
	err = fault.AddContext(fault.Op{Name: c.op, Layer: c.layer}, err)
	if errors.Is(context.Cause(c.ctx), errStopping) && !errors.Is(err, errStopping) {
		err = fmt.Errorf("%w: %w", errStopping, err)
	}
	if wrapWriteError := c.r.Context().Err(); wrapWriteError != nil {
		c.ended(errors.Join(wrapWriteError, err))
		log.WithError(err).Warn("the engine hung up")
	} else {
		c.ended(err)
		log.WithError(err).Error("failed")
	}
	if c.started {
		panic(http.ErrAbortHandler)
	}
	if err := c.refuse(fault.Text(err)); err != nil {
		log.WithError(err).Debug("the engine did not take the error")
	}
}

// refuse sends the error. Only with status 200 the engine keeps the text unchanged. A Diff
// needs another status, because a 200 starts its tar.
func (c *call) refuse(text string) error {
	switch c.name {
	case callApplyDiff:
		return c.refuseUpload(text)
	case callDiff:
		return writeJSON(c.w, http.StatusInternalServerError, errorResponse{text})
	default:
		return writeJSON(c.w, http.StatusOK, errorResponse{text})
	}
}

// logger returns a logger with the call's name and layer. A long ID is cut.
func (c *call) logger() logrus.FieldLogger {
	log := c.server.log.WithField("op", c.op)
	if c.layer != "" {
		log = log.WithField("layer", shorten(c.layer))
	}
	return log
}

func shorten(id string) string {
	const most = 80
	if len(id) > most {
		return id[:most] + "…"
	}
	return id
}
