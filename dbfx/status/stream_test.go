package status

import (
	"context"
	"encoding/json"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sergas/dbkit/dbfx"
)

// TestStream_ManyShareOneFrameASecond: ten seconds of forty browsers, on a clock of
// their own.
func TestStream_ManyShareOneFrameASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const viewers, seconds = 40, 10
		page := New(Options{})
		var wg sync.WaitGroup
		answers := make([]*httptest.ResponseRecorder, viewers)
		for i := range answers {
			answers[i] = httptest.NewRecorder()
			ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
			defer cancel()
			wg.Go(func() { page.ServeHTTP(answers[i], httptest.NewRequestWithContext(ctx, "GET", "/?events", nil)) })
			time.Sleep(20 * time.Millisecond) // they do not come at the same moment
		}
		wg.Wait()
		for i, answer := range answers {
			if n := strings.Count(answer.Body.String(), "data: "); n < seconds || n > seconds+1 {
				t.Errorf("browser %d got %d events, want one a second", i, n)
			}
		}
		if n := page.frames.last.number; n > seconds+3 {
			t.Errorf("%d frames were drawn for %d browsers in %d seconds", n, viewers, seconds)
		}
		if n := page.opened.Load(); n != 0 {
			t.Errorf("%d streams are still counted", n)
		}
	})
}

// TestStream_EndsWhenItsClientVanishes: closed, and reset without a word.
func TestStream_EndsWhenItsClientVanishes(t *testing.T) {
	t.Parallel()
	page := New(Options{})
	server := httptest.NewServer(page)
	defer server.Close()
	for _, linger := range []int{-1, 0} {
		lines := make([]*net.TCPConn, 20)
		for i := range lines {
			line, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			lines[i] = line.(*net.TCPConn)
			if _, err := line.Write([]byte("GET /?events HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		for page.opened.Load() < int32(len(lines)) {
			time.Sleep(time.Millisecond)
		}
		for _, line := range lines {
			if err := line.SetLinger(linger); err != nil {
				t.Fatal(err)
			}
			_ = line.Close()
		}
		for page.opened.Load() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestFrame_HasForEveryStreamWhatItLacks: one that has missed a frame gets what that
// changed too.
func TestFrame_HasForEveryStreamWhatItLacks(t *testing.T) {
	t.Parallel()
	v := newView()
	snapshot := Snapshot{Databases: []Database{{Name: "default", State: dbfx.StateUp}}}
	var last *frame
	draw := func() {
		t.Helper()
		var err error
		if last, err = v.frame(snapshot, last); err != nil {
			t.Fatal(err)
		}
	}
	has := func(had int64, id string) bool {
		t.Helper()
		event, err := last.event(had)
		if err != nil {
			t.Fatal(err)
		}
		var changed map[string]string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(string(event), "data: ")), &changed); err != nil {
			t.Fatal(err)
		}
		_, ok := changed[id]
		return ok
	}
	draw()
	snapshot.Databases[0].Names = []Name{{Name: "place order", Mode: "run", Count: 1}}
	draw() // changes the names
	snapshot.Databases[0].Slowest = []Statement{{Shape: "select ?", Count: 1}}
	draw() // changes the statements
	tests := []struct {
		had  int64
		id   string
		want bool
	}{
		{0, "default.storage", true}, {0, "default.names", true}, {0, "clock", true},
		{1, "default.names", true}, {1, "default.statements", true}, {1, "default.storage", false},
		{2, "default.names", false}, {2, "default.statements", true},
	}
	for _, tt := range tests {
		if got := has(tt.had, tt.id); got != tt.want {
			t.Errorf("a stream that has frame %d: %s is sent: %v, want %v", tt.had, tt.id, got, tt.want)
		}
	}
}

// stalled is a client that reads nothing: a write blocks until its deadline.
type stalled struct {
	*httptest.ResponseRecorder
	writing, due chan struct{}
}

func (s *stalled) Write([]byte) (int, error) {
	close(s.writing)
	<-s.due
	return 0, os.ErrDeadlineExceeded
}

func (s *stalled) SetWriteDeadline(at time.Time) error {
	if !at.After(time.Now()) {
		close(s.due)
	}
	return nil
}

// TestStream_AClientThatReadsNothingDoesNotHoldUpTheShutdown: http.Server.Shutdown waits
// for the stream.
func TestStream_AClientThatReadsNothingDoesNotHoldUpTheShutdown(t *testing.T) {
	t.Parallel()
	page := New(Options{})
	w := &stalled{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		page.ServeHTTP(w, httptest.NewRequest("GET", "/?events", nil))
	}()
	<-w.writing
	page.Close()
	<-returned
}
