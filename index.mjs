// The same objects as `require('llmpool')` gives: `instanceof` holds whichever way a module was loaded.
import llmpool from './index.js'

export const {
  LLMPool,
  LLMPoolError,
  ConfigurationError,
  InvalidRequestError,
  ProviderError,
  RateLimitError,
  NoProviderError,
  BudgetExceededError,
  TimeoutError,
  StreamInterruptedError,
  PermissionDeniedError,
  QueueFullError,
  PoolClosedError,
  PROVIDERS,
  MESSAGE_TYPES,
  createTextMessage,
  createImageMessage,
  createMixedMessage,
} = llmpool
