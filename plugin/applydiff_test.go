package plugin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestApplyDiffErrorReachesTheEngine: the engine is still sending when the
// driver gives up, and must get the words, not a broken pipe.
func TestApplyDiffErrorReachesTheEngine(t *testing.T) {
	boom := errors.New("boom")
	for _, size := range []int64{1, 1 << 10, 1 << 20, 32 << 20, 2 * drainSize} {
		for name, apply := range map[string]func(context.Context, io.Reader) (int64, error){
			"at once":  func(context.Context, io.Reader) (int64, error) { return 0, boom },
			"midway":   func(_ context.Context, r io.Reader) (int64, error) { io.CopyN(io.Discard, r, size/2); return 0, boom },
			"at end":   func(_ context.Context, r io.Reader) (int64, error) { io.Copy(io.Discard, r); return 0, boom },
			"by panic": func(context.Context, io.Reader) (int64, error) { panic("boom") },
		} {
			d := newFake()
			d.apply = apply
			r := started(t, d)
			for _, known := range []bool{false, true} { // chunked, or with a length
				body := io.LimitReader(stuck{1 << 16}, size)
				if known && size <= 32<<20 {
					body = bytes.NewReader(make([]byte, size))
				}
				_, err := r.ApplyDiff(t.Context(), "a", "", body)
				if err == nil {
					t.Fatalf("%s, %d bytes: no error", name, size)
				}
				wantText(t, err, "apply diff layer a: ", "boom")
			}
		}
	}
}

// TestApplyDiffErrorDoesNotWaitForTheStream: what the engine sends may be a
// download that takes its time.
func TestApplyDiffErrorDoesNotWaitForTheStream(t *testing.T) {
	d := newFake()
	d.err = errors.New("boom")
	r := started(t, d)
	in, out := io.Pipe()
	defer out.Close()
	result := make(chan error, 1)
	go func() { _, err := r.ApplyDiff(t.Context(), "a", "", in); result <- err }()
	io.WriteString(out, "head") // and nothing more
	wantText(t, await(t, result, "the error"), "boom")
}

func TestApplyDiffStreamsAndAnswersLast(t *testing.T) {
	d := newFake()
	first := make(chan string, 1)
	d.apply = func(_ context.Context, r io.Reader) (int64, error) {
		head := make([]byte, 4)
		_, err := io.ReadFull(r, head)
		first <- string(head)
		return 7, err // the rest is for the server to read
	}
	r := started(t, d)
	in, out := io.Pipe()
	type answer struct {
		size int64
		err  error
	}
	result := make(chan answer, 1)
	go func() {
		size, err := r.ApplyDiff(t.Context(), "a", "", in)
		result <- answer{size, err}
	}()
	io.WriteString(out, "head")
	if got := await(t, first, "the driver"); got != "head" { // long before the end
		t.Errorf("the driver read %q", got)
	}
	for range 100 {
		if _, err := out.Write(make([]byte, 1<<20)); err != nil {
			t.Fatalf("answered before the stream was read: %v", err)
		}
	}
	out.Close()
	if got := await(t, result, "the answer"); got.size != 7 || got.err != nil {
		t.Errorf("got %+v", got)
	}
}

// TestApplyDiffOfNoBytes reaches the driver, which knows whether an earlier attempt has read
// the stream.
func TestApplyDiffOfNoBytes(t *testing.T) {
	for _, body := range []io.Reader{nil, strings.NewReader(""), io.LimitReader(stuck{1}, 0)} {
		d := newFake()
		r := started(t, d)
		if status, answer := r.post(t, callApplyDiff+"?id=a&parent=", body); status != http.StatusOK || strings.Contains(answer, "empty") {
			t.Errorf("answered %d %s", status, answer)
		}
		if asked := d.joinCalls(); asked != `apply "a" ""` {
			t.Errorf("the driver was asked %q", asked)
		}
	}
}

// TestApplyDiffSeesTheEngineGo: half a stream must not end like a whole one.
func TestApplyDiffSeesTheEngineGo(t *testing.T) {
	for name, head := range map[string]string{
		"chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"length":  "Content-Length: 8\r\n\r\nhalf",
	} {
		d := newFake()
		got := make(chan error, 1)
		d.apply = func(_ context.Context, r io.Reader) (int64, error) {
			n, err := io.Copy(io.Discard, r)
			got <- err
			return n, err
		}
		conn, err := net.Dial("unix", started(t, d).socket)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST /GraphDriver.ApplyDiff?id=a&parent= HTTP/1.1\r\nHost: plugin\r\n"+head)
		conn.Close()
		if err := await(t, got, "the driver"); err == nil {
			t.Errorf("%s: the driver read half a stream without an error", name)
		}
	}
}

func TestApplyDiffRefusesBadQueries(t *testing.T) {
	r := started(t, newFake())
	for _, query := range []string{"", "?id=a&id=b", "?id=%zz"} {
		if _, answer := r.post(t, callApplyDiff+query, strings.NewReader("tar")); !strings.HasPrefix(answer, `{"Err":"apply diff`) {
			t.Errorf("%q answered %s", query, answer)
		}
	}
}
