# frozen_string_literal: true

# sidekiq.rb: driver of Sidekiq; consumers are `sidekiq -r` of this file. bench/README.md says what a driver does.
require 'sidekiq'
require 'sidekiq/api'

REDIS = { url: "unix://#{ENV.fetch('BENCH_SOCKET')}" }.freeze
RECORDS = File.open(ENV.fetch('BENCH_RECORDS'), 'ab')

Sidekiq.logger.level = Logger::WARN
Redis.silence_deprecations = true # this Sidekiq's own, a warning for each call
Sidekiq.configure_client { |config| config.redis = REDIS }
Sidekiq.configure_server { |config| config.redis = REDIS }

def text
  format('%.6f ', Time.now.to_f).ljust(200, 'x')
end

# The handler.
class Bench
  include Sidekiq::Worker
  sidekiq_options retry: false

  def perform(text)
    RECORDS.syswrite([Time.now.to_f, text.to_f, Process.pid.to_f].pack('d3'))
  end
end

def run(order, count)
  case order
  when 'sync' then count.times { Bench.perform_async(text) }
  when 'batch' then (count / 100).times { Sidekiq::Client.push_bulk('class' => Bench, 'args' => Array.new(100) { [text] }) }
  when 'paced' then count.times { sleep 0.008; Bench.perform_async(text) }
  else raise "an order that is unknown: #{order}"
  end
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

unless Sidekiq.server?
  $stdin.each_line do |line|
    order, count = line.split
    begin_at = now
    run(order, count.to_i)
    puts now - begin_at
    $stdout.flush
  end
end
