package plugin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds on reading the body of an ApplyDiff that was refused. Closing the connection at
// once could cost the engine the answer.
const (
	drainTime = 5 * time.Second
	drainSize = 64 << 20
)

// applyDiff unpacks the tar in the request's body.
func applyDiff(c *call) error {
	size, err := c.apply()
	if err != nil {
		return err
	}
	return c.answer(sizeResponse{size})
}

func (c *call) apply() (int64, error) {
	q, err := decodeQuery(c.r.URL.RawQuery)
	c.layer = q.ID
	if err != nil {
		return 0, err
	}
	body := bufio.NewReader(c.r.Body)
	if _, err := body.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return 0, wrapReadError(err)
	}
	s, err := c.server.driver.acquire(c.ctx)
	if err != nil {
		return 0, err
	}
	defer s.release()
	size, err := s.driver.ApplyDiff(c.ctx, q.ID, q.Parent, body)
	if err != nil {
		return 0, err
	}
	// The stream can go on after the end of the tar. It is read to its end before the answer,
	// because the engine goes on with its side of the stream once it has the answer.
	if _, err := io.Copy(io.Discard, body); err != nil {
		return 0, wrapReadError(err)
	}
	return size, nil
}

// wrapReadError explains an error of reading the body.
func wrapReadError(err error) error {
	return fmt.Errorf("the engine's stream broke: %w", err)
}

// refuseUpload sends the error while the engine may still be sending. Without full duplex
// the HTTP server reads a part of the body before it answers, and closes the connection on
// the rest: the engine would see a broken pipe and not the error.
func (c *call) refuseUpload(text string) error {
	control := http.NewResponseController(c.w)
	if err := control.EnableFullDuplex(); err != nil {
		return err
	}
	c.w.Header().Set("Connection", "close")
	if err := writeJSON(c.w, http.StatusOK, errorResponse{text}); err != nil {
		return err
	}
	if err := control.Flush(); err != nil {
		return err
	}
	return c.drain(control)
}

// drain reads, within bounds, until the engine stops sending.
func (c *call) drain(control *http.ResponseController) error {
	if err := control.SetReadDeadline(time.Now().Add(drainTime)); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c.r.Body, drainSize); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
