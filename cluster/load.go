//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// load is clients that create tokens and read lists, and write down every answer.
type load struct {
	service *service
	prefix  string
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex
	acked   []string
	times   []time.Time // of acked
	denied  []string
	unknown []string
	reads   int
	unread  int // reads that failed
	ended   time.Time
}

// runs makes the names of one run unlike those of another on the same cluster.
var runs int

func startLoad(ctx context.Context, service *service, event string, clients int) *load {
	runs++
	ctx, cancel := context.WithCancel(ctx)
	l := &load{service: service, prefix: fmt.Sprintf("%s-%s-%d-", service.path, event, runs), cancel: cancel}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * clients}}
	for c := range clients {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.create(client, fmt.Sprintf("%s%d-%d", l.prefix, c, i))
				if i%4 == 0 {
					l.read(client)
				}
			}
		})
	}
	return l
}

// create does not end with the load: an answer that nobody waits for would count
// as unknown.
func (l *load) create(client *http.Client, name string) {
	response, err := client.Post(l.service.base+"/tokens", "application/json", bytes.NewBufferString(fmt.Sprintf(`{"name":%q}`, name)))
	status, text := 0, ""
	if err == nil {
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		var problem struct{ Error string }
		_ = json.Unmarshal(body, &problem)
		status, text = response.StatusCode, problem.Error
	}
	l.mu.Lock()
	switch {
	case status == http.StatusCreated:
		l.acked, l.times = append(l.acked, name), append(l.times, time.Now())
	case status == 0 || bytes.Contains([]byte(text), []byte("not known")):
		l.unknown = append(l.unknown, name)
	default:
		l.denied = append(l.denied, name)
	}
	l.mu.Unlock()
	if status != http.StatusCreated {
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *load) read(client *http.Client) {
	response, err := client.Get(l.service.base + "/tokens?limit=5")
	ok := err == nil && response.StatusCode == http.StatusOK
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if !ok {
		l.unread++
	}
}

func (l *load) stop() {
	l.cancel()
	l.ended = time.Now()
	l.wg.Wait()
}
