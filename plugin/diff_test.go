package plugin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// source is a Diff that a test takes apart: it gives data, then ends as told.
type source struct {
	io.Reader
	closeErr error
	closed   chan struct{}
}

func (s *source) Close() error { close(s.closed); return s.closeErr }

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("mid-stream") }

// TestDiffNeverLooksWhole: however a Diff fails, its reader gets an error.
func TestDiffNeverLooksWhole(t *testing.T) {
	boom := errors.New("boom")
	for _, size := range []int{0, 1, 512, headSize - 1, headSize, headSize + 1, 10 * headSize} {
		for name, tt := range map[string]struct {
			end      io.Reader
			closeErr error
		}{
			"read error":           {iotest.ErrReader(boom), nil},
			"error that means EOF": {iotest.ErrReader(io.ErrUnexpectedEOF), nil},
			"close error":          {strings.NewReader(""), boom},
			"panic":                {panics{}, nil},
		} {
			d := newFake()
			src := &source{io.MultiReader(bytes.NewReader(make([]byte, size)), tt.end), tt.closeErr, make(chan struct{})}
			d.diff = func(context.Context) (io.ReadCloser, error) { return src, nil }
			r := started(t, d)
			body, err := r.Diff(t.Context(), "a", "")
			clean := size < headSize
			if clean { // found out before the first byte
				wantText(t, err, "diff layer a: ")
			} else {
				if err != nil {
					t.Fatalf("%s after %d bytes: %v", name, size, err)
				}
				if _, err = io.Copy(io.Discard, body); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s after %d bytes: the stream ended with %v", name, size, err)
				}
				body.Close()
			}
			await(t, src.closed, "the source to be closed")
			if err := r.Put(t.Context(), "a"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		}
	}
}

func TestDiffArrivesWhole(t *testing.T) {
	for _, size := range []int{0, 1, headSize - 1, headSize, headSize + 1, 5 * headSize} {
		want := bytes.Repeat([]byte("overlay"), size/7+1)[:size]
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "data with EOF": iotest.DataErrReader,
		} {
			d := newFake()
			d.diff = func(context.Context) (io.ReadCloser, error) {
				return &source{wrap(bytes.NewReader(want)), nil, make(chan struct{})}, nil
			}
			body, err := started(t, d).Diff(t.Context(), "a", "")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes: got %d bytes, %v", name, size, len(got), err)
			}
			body.Close()
		}
	}
}

// stuck gives bytes without end, or nothing at all.
type stuck struct{ n int }

func (s stuck) Read(p []byte) (int, error) { return min(s.n, len(p)), nil }

func TestDiffThatMakesNoProgressFails(t *testing.T) {
	d := newFake()
	d.diff = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(stuck{0}), nil }
	_, err := started(t, d).Diff(t.Context(), "a", "")
	wantText(t, err, io.ErrNoProgress.Error())
}

func TestHangingUpClosesTheDiff(t *testing.T) {
	d := newFake()
	src := &source{stuck{1 << 20}, nil, make(chan struct{})}
	var driverCtx context.Context
	d.diff = func(ctx context.Context) (io.ReadCloser, error) { driverCtx = ctx; return src, nil }
	body, err := started(t, d).Diff(t.Context(), "a", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	body.Close()
	await(t, src.closed, "the source to be closed")
	await(t, driverCtx.Done(), "the driver's context to end")
}

// TestDiffNeedsAStreamThatCanFail: in HTTP/1.0 the end of the connection is the
// end of the answer, so a cut stream would look whole.
func TestDiffNeedsAStreamThatCanFail(t *testing.T) {
	r := started(t, newFake())
	conn, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /GraphDriver.Diff HTTP/1.0\r\nContent-Length: 10\r\n\r\n{\"ID\":\"a\"}")
	status, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(status, "500") {
		t.Errorf("answered %q, %v", status, err)
	}
}
